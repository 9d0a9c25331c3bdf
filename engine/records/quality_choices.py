"""What was chosen when a cohort was made: in words, and as the command that makes it again.

`options` are those of `manifest.json` (`engine.records.options.IngestOptions.to_dict`).
"""

from collections.abc import Mapping

from engine.records.options import PRESETS, VOCABULARIES, IngestOptions

CODES = {
    "diagnoses": "diagnosis codes",
    "procedures": "procedure codes",
    "medications": "medication groups",
}
SUM_SHOWN = 12  # characters of a file's SHA-256


def sentences(options: Mapping) -> list[str]:
    """Return every choice that is not the default, in words that continue a sentence."""
    said = []
    if options.get("preset"):
        said.append(f"the start was the preset {options['preset']}")
    if options.get("min_visits", 1) > 1:
        said.append(f"patients with fewer than {options['min_visits']:,} admissions are left out")
    if options.get("first_day"):
        said.append("only medications started within 24 hours of admission are kept")
    said += [
        f"the vocabulary of {CODES[kind]} holds {kept}"
        for kind in VOCABULARIES
        if (kept := limit(options, kind))
    ]
    if fields := sorted(options.get("profile_off", ())):
        names = (field.removesuffix("_band").replace("_", " ") for field in fields)
        said.append(f"left empty for every visit: {', '.join(names)}")
    if options.get("icd10"):
        said.append("ICD-9 diagnoses are translated to ICD-10 where there is an equivalent")
    if options.get("drug_map"):
        said.append(
            "product codes (NDC) are looked up in a drug map (SHA-256 "
            f"{str(options['drug_map'].get('sha256'))[:SUM_SHOWN]}…)"
        )
    if options.get("split_seed"):
        said.append(f"patients are divided by the split seed {options['split_seed']}")
    return said


def limit(options: Mapping, kind: str) -> str | None:
    """Return what `top_k` and `min_count` leave in a vocabulary; None where they leave it whole."""
    most = options.get("top_k", {}).get(kind)
    least = options.get("min_count", {}).get(kind, 1)
    needed = f" of at least {least:,} training visits"
    if most:
        return f"only the {most:,} most frequent{needed if least > 1 else ''}"
    return f"only those{needed}" if least > 1 else None


def arguments(options: Mapping) -> list[str]:
    """Return the arguments of `engine ingest` for these options, without those of a preset.

    Of a drug map only its sum is known; FILE stands for it.
    """
    preset = options.get("preset")
    start = PRESETS.get(preset, IngestOptions())
    given = ["--preset", preset] if preset in PRESETS else []
    for name in ("split_seed", "min_visits"):
        if (value := options.get(name, getattr(start, name))) != getattr(start, name):
            given += [_flag(name), str(value)]
    for name in ("min_count", "top_k"):
        for kind, number in sorted(options.get(name, {}).items()):
            if getattr(start, name).get(kind) != number:
                given += [_flag(name), f"{kind}={number}"]
    if fields := options.get("profile_off"):
        given += [_flag("profile_off"), ",".join(fields)]
    given += [_flag(name) for name in ("first_day", "icd10") if options.get(name)]
    if options.get("drug_map"):
        given += [_flag("drug_map"), "FILE"]
    return given


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
