"""Why an API could not be put in front of an engine. Imports nothing of a server's."""


class ApiTrouble(Exception):
    """The API cannot answer; the message says why and what to do, in a sentence for people."""


class ApiMisconfigured(ApiTrouble):
    """It is the settings or a key file, so that trying again changes nothing."""
