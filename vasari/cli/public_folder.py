"""What an authority may hand to anyone: the names of the files in its `public` folder."""

CLAIM_ROOT = "claim-root.pem"
TIME_ROOT = "time-root.pem"
LOG_KEY = "log.vkey"
REVOCATION_LISTS = "revoked.crl.pem"
