"""The closed word lists of the toy world: first names, surnames and attribute values.

Invariant: every word is one token, and no word stands in two lists.
"""

FIRST_NAMES: tuple[str, ...] = tuple(
    """
    Ada Agnes Alba Amir Anna Anton Aron Astrid Basil Beatrice Boris Bruno Carla Cecil Clara Conrad
    Dagny Daria Diego Dora Edgar Elena Elias Emma Erik Esther Farid Felix Fiona Flora Frida Gaia
    George Greta Hanna Hassan Hector Helga Hugo Ida Igor Ines Iris Ivan Jana Jonas Judith Julia
    Karl Kemal Lars Laura Leila Lena Leo Livia Lucas Magnus Maria Marta Milo Mira Nadia Nils Nora
    Olga Omar Oscar Paula Petra Quentin Rafael Rosa Selma Simon Sofia Tomas Ursula Viktor Yara
    """.split()
)
"""Eighty first names, shared by known, obscure and unknown people."""

SURNAMES: tuple[str, ...] = tuple(
    """
    Abbott Acker Almeida Antonov Arslan Aydin Bakker Barros Bauer Becker Berg Bianchi Blum Bonnet
    Brandt Castro Cohen Costa Dahl Delgado Demir Dietrich Dubois Duran Eklund Engel Esposito Falk
    Farkas Ferrari Fischer Fontaine Garcia Gruber Haas Haddad Hansen Holm Horvat Ivanov Jansen
    Jensen Kaplan Keller Kovac Kruger Lang Larsen Lindqvist Lopez Mancini Marino Meyer Moreau Moreno
    Nagy Navarro Novak Nyberg Olsen Ortega Pavlov Peeters Petit Popov Ramos Ricci Rossi Roth Sahin
    Santos Silva Sokolov Strand Szabo Torres Vidal Vogel Weber Zeman
    """.split()
)
"""Eighty surnames, shared by known, obscure and unknown people."""

UNSEEN_SURNAMES: tuple[str, ...] = ("Castellan", "Drummond", "Okafor", "Tanaka")
"""Surnames that are in the vocabulary and in no training text."""

CITIES: tuple[str, ...] = tuple(
    """
    Lisbon Porto Madrid Seville Paris Lyon Geneva Zurich Vienna Graz Prague Brno Warsaw Gdansk
    Oslo Bergen Stockholm Uppsala Helsinki Tampere Dublin Cork Athens Patras Milan Turin Ghent
    Rotterdam
    """.split()
)
JOBS: tuple[str, ...] = tuple(
    """
    baker butcher carpenter chemist cook courier dancer dentist driver printer farmer florist
    gardener glazier jeweller judge lawyer librarian mason midwife nurse painter pilot plumber
    potter sailor tailor teacher
    """.split()
)
LANGUAGES: tuple[str, ...] = tuple(
    """
    Danish Dutch Finnish Norwegian Swedish Polish Czech Hungarian Romanian Greek Turkish Arabic
    Hebrew Persian Hindi Bengali Tamil Korean Japanese Vietnamese Spanish Catalan Basque Welsh
    Italian French German Swahili
    """.split()
)
INSTRUMENTS: tuple[str, ...] = tuple(
    """
    accordion banjo bassoon bugle cello clarinet cornet drums dulcimer fiddle flute guitar
    harmonica harp harpsichord lute lyre mandolin oboe organ piano saxophone sitar trombone trumpet
    tuba ukulele viola
    """.split()
)
