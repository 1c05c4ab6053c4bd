"""All cases of the corpus by name."""

from tests.engine.admission.case import Case
from tests.engine.admission.folder_corpus import FOLDERS
from tests.engine.admission.gguf_corpus import GGUF

ALL: dict[str, Case] = {f"gguf: {name}": case for name, case in GGUF.items()} | {
    f"folder: {name}": case for name, case in FOLDERS.items()
}
