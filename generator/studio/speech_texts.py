"""Things to say: word lists per language, shuffled into sentences, and invented words rich in lip sounds."""

from __future__ import annotations

import random
from typing import Final

WORDS: Final[dict[str, str]] = {
    "en": """people bring paper money before Monday morning maybe my mother bought some brown bread five very
     big boxes of apples problem simple number Bob Pam map pub bomb mime beam pop Bible purple bubble member remember
     move film from above give love voice five seven have never fifth coffee wife of off view value think that this
     three with both bath the other weather show church judge measure vision usual cheese choose zero is size seize
     you yes use few who how home hope go goes boat low show water wide west we will what white one quick queen good
     book look could food moon blue two too rule room red read right very carry four door law talk caught father
     calm car heart large hot not stop top cat man bad happy back sat ran ten bed said head get less see meet eat
     machine green key sit bit thing winter summer about again sofa banana first bird work her girl day name place
     rain face time my night light eye now house out down boy noise point again please set lay bin at by in a
     k j x s p q m n b c d e f g h i l o r t u v w y z eight six nine seven now soon again""",
    "de": """Morgen habe ich fünf Bäume am Fluss gesehen Mutter Vater Buch Apfel Pferd Brot Wasser Wein schön
     Straße über müde Bahnhof bitte Problem Bombe immer kommen geben oben unten zwei drei vier sieben zwölf ja nein
     Kirche machen Licht Nacht Schule spielen Stein Zeit Zug Mann Frau Kind blau grün braun rot heiß Haus Baum Feuer
     neu heute Öl böse Glück Bübchen Pumpe Mumie fabelhaft wunderbar vielleicht Woche Wolke""",
    "fr": """bonjour maman papa beaucoup pomme pain vin blanc bleu femme homme problème peut-être demain matin
     jamais fenêtre voiture vous nous tout petit grand chambre rouge jaune livre oiseau eau peu feu deux trois cinq
     sept huit neuf fleur soeur rue lune bien rien loin moi toi roi musique mouvement bombe pompe famille bouche
     lèvre visage chaud chien jouer manger""",
    "it": """mamma babbo bambino pane vino acqua buono bello problema domani mattina sempre mai bocca famiglia
     finestra vivere vento fuoco fiume piove più uomo donna casa cane gatto pesce cielo giorno notte scuola chiesa
     gente zio pizza bagno figlio aglio sogno tempo campo bomba ambra papavero primavera uva uovo luna sei sette otto
     nove quando perché""",
    "es": """mamá papá pueblo problema bueno mañana siempre nombre hombre mujer boca familia ventana viento fuego
     vivir beber pan vino agua leche calle noche niño jugo mejor hijo rojo verde azul blanco siete ocho nueve cuando
     porque también primero compra bomba campo tiempo puerta luna nube uva feliz fiesta favor""",
    "pt": """mamãe papai pão vinho água bom problema amanhã manhã sempre nome homem mulher boca família janela vento
     fogo viver beber leite rua noite menino melhor filho vermelho verde azul branco sete oito nove quando porque
     também primeiro compra bomba campo tempo porta lua nuvem uva feliz""",
    "nl": """morgen moeder vader boek appel paard brood water wijn mooi straat over moe bitter probleem bom altijd
     komen geven boven onder twee drie vier zeven ja nee kerk maken licht nacht school spelen steen tijd trein man
     vrouw kind blauw groen bruin rood heet huis boom vuur nieuw""",
    "pl": """mama papa pomoc problem dobry jutro zawsze nigdy chleb woda wino piwo matka ojciec książka jabłko
     mieszkać być mieć bomba pompa biały czarny czerwony niebieski siedem osiem dziewięć szkoła życie rzeka morze
     kobieta mężczyzna okno ulica wiatr ogień""",
    "sv": """mamma pappa morgon bok äpple bröd vatten vin vacker gata över problem bomb alltid komma ge ovan under
     två tre fyra sju ja nej kyrka göra ljus natt skola spela sten tid tåg man kvinna barn blå grön brun röd hus eld
     ny sjuk mjölk""",
    "fi": """mamma pappa aamu hyvä päivä vesi viini leipä maito omena poika tyttö talo puu kukka punainen sininen
     musta valkoinen kaksi kolme neljä viisi kuusi seitsemän yhdeksän koulu kirja ikkuna ovi yö työ syödä juoda pommi
     pumppu vapaa hauva lapsi mies nainen""",
    "tr": """anne baba ekmek su şarap güzel problem yarın sabah her zaman isim adam kadın ağız aile pencere rüzgar
     ateş yaşamak içmek süt sokak gece çocuk daha iyi kırmızı yeşil mavi beyaz yedi sekiz dokuz pembe bomba pompa
     mümkün vapur""",
    "hu": """anya apa kenyér víz bor szép probléma holnap reggel mindig név ember nő száj család ablak szél tűz élni
     inni tej utca éj gyerek jobb piros zöld kék fehér hét nyolc kilenc bomba pumpa""",
    "cs": """máma táta chléb voda víno pivo pěkný problém zítra ráno vždy jméno člověk žena ústa rodina okno vítr
     oheň žít pít mléko ulice noc dítě lepší červený zelený modrý bílý sedm osm devět bomba pumpa mapa""",
    "ro": """mama tata pâine apă vin frumos problemă mâine dimineața mereu nume om femeie gură familie fereastră vânt
     foc viață lapte stradă noapte copil bun roșu verde albastru alb șapte opt nouă bombă pompă""",
    "id": """ibu bapak roti air anggur bagus masalah besok pagi selalu nama orang perempuan mulut keluarga jendela
     angin api hidup minum susu jalan malam anak baik merah hijau biru putih tujuh delapan sembilan bom pompa""",
    "sw": """mama baba mkate maji mvinyo nzuri shida kesho asubuhi daima jina mtu mwanamke mdomo familia dirisha
     upepo moto maisha maziwa barabara usiku mtoto bora nyekundu kijani buluu nyeupe saba nane tisa bomu pampu""",
    "cmn": """今天 天气 很好 我们 一起 公园 散步 然后 回家 吃饭 看 电影 妈妈 爸爸 朋友 明白 不 怕 风 飞机 发现 父母 北京
     苹果 面包 咖啡 跑步 漂亮 老师 学生 问题 五 八 四 二 日本 中国 喜欢 美丽 晚上 出去 知道 水 书 鱼 月亮 雨""",
    # For tests alone, see `speech_synthesis.HELD_OUT_VOICES`.
    "el": """μητέρα πατέρας παιδί ψωμί νερό κρασί μήλο πρόβλημα αύριο πρωί πάντα ποτέ όνομα άνθρωπος γυναίκα στόμα
     οικογένεια παράθυρο άνεμος φωτιά ζωή γάλα δρόμος νύχτα καλός κόκκινο πράσινο μπλε άσπρο επτά οκτώ εννέα βιβλίο
     θάλασσα φεγγάρι μπάλα βροχή χρόνος σχολείο σπίτι""",
    "da": """mor far morgen bog æble brød vand vin smuk gade over problem bombe altid komme give oven under to tre
     fire syv ja nej kirke gøre lys nat skole spille sten tid tog mand kvinde barn blå grøn brun rød hus ild ny syg
     mælk pumpe vind""",
    "hi": """माँ पिता बच्चा रोटी पानी सेब समस्या कल सुबह हमेशा कभी नाम आदमी औरत मुँह परिवार खिड़की हवा आग जीवन दूध
     सड़क रात अच्छा लाल हरा नीला सफेद सात आठ नौ किताब समुद्र चाँद बम फूल मकान बाज़ार भाई बहन""",
    "ca": """mare pare poble pa aigua vi poma problema demà matí sempre nom home dona boca família finestra vent foc
     viure beure llet carrer nit nen millor fill vermell verd blau blanc set vuit nou quan perquè també primer compra
     bomba camp temps porta lluna núvol raïm feliç""",
    "ru": """мама папа хлеб вода вино яблоко проблема завтра утро всегда никогда имя человек женщина рот семья окно
     ветер огонь жизнь молоко улица ночь хороший красный зелёный синий белый семь восемь девять книга море луна бомба
     помощь время школа дом""",
}
_ONSETS = tuple("pbmfvtdnlskgrpbmbmpfv")
_VOWELS = tuple("aeiouaoie")


def sentence(language: str, rng: random.Random) -> str:
    """4 to 12 words of the language in random order, sometimes with invented words and commas."""
    words = rng.choices(WORDS[language].split(), k=rng.randint(4, 12))
    if language != "cmn":
        words = [invented_word(rng) if rng.random() < 0.25 else word for word in words]
    marks = [rng.choices(["", ",", ".", ";"], [20, 3, 1, 1])[0] for _ in words]
    return " ".join(word + mark for word, mark in zip(words, marks, strict=True)) + "."


def invented_word(rng: random.Random) -> str:
    """One to three open syllables, half of them with p, b, m, f or v, as any Latin spelling reads them."""
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.randint(1, 3)))
