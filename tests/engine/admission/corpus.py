"""All cases of the corpus by name."""

from tests.engine.admission.case import Case
from tests.engine.admission.folder_corpus import FOLDERS
from tests.engine.admission.further_corpus import FOLDERS_FURTHER, GGUF_FURTHER
from tests.engine.admission.gguf_corpus import GGUF

ALL: dict[str, Case] = {f"gguf: {name}": case for name, case in (GGUF | GGUF_FURTHER).items()} | {
    f"folder: {name}": case for name, case in (FOLDERS | FOLDERS_FURTHER).items()
}
