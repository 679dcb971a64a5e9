"""What can go wrong with credentials, certificates, the repository and the log."""


class ProvenanceError(Exception):
    """The one root error of this package; the message says what was expected, what came and what to do."""


class CertificateError(ProvenanceError):
    """A certificate or chain breaks the rules of `certificate_rules`, or can't be read."""


class SettingsError(ProvenanceError):
    """A setting of the C2PA engine is unknown, unsafe or of the wrong type."""


class SigningError(ProvenanceError):
    """A clip could not be signed; nothing may be handed out."""


class TimeStampError(ProvenanceError):
    """A time-stamping request is malformed or can't be answered."""


class RepositoryError(ProvenanceError):
    """The manifest repository is damaged, of another schema, or holds another entry under this id."""


class LogError(ProvenanceError):
    """The transparency log is damaged, inconsistent, or was asked for something it does not hold."""


class ProofError(ProvenanceError):
    """A signed note, checkpoint or proof is malformed or does not hold."""


class KeySourceError(ProvenanceError):
    """A key can't be found, opened or used where its URI says; the original error is its cause."""
