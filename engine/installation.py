"""The folder of an installation: where accounts, audit, versions and runs of this hospital lie."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Installation:
    """The folder named by WORKBENCH_DATA (default `data`), and the places within it.

    Nothing is made here: each place is made by what first writes to it.
    """

    folder: Path

    @classmethod
    def current(cls) -> "Installation":
        """Return the installation that the environment names."""
        return cls(Path(os.environ.get("WORKBENCH_DATA") or "data"))

    @property
    def database(self) -> Path:
        """Accounts, sessions, audit, versions, decisions and patient indexes."""
        return self.folder / "workbench.sqlite"

    @property
    def audit_key(self) -> Path:
        """The key of the audit chain, kept outside the database; `audit.head` lies beside it."""
        return self.folder / "audit.key"

    @property
    def models(self) -> Path:
        """One folder a registered version."""
        return self.folder / "models"

    @property
    def runs(self) -> Path:
        """One folder a retraining run."""
        return self.folder / "runs"

    @property
    def drug_map(self) -> Path | None:
        """The map of package and RxNorm codes for what is read in the app, if there is one.

        WORKBENCH_DRUG_MAP, or `rxnorm.sqlite` in the folder, where `terminology rxnorm` puts it.
        """
        named = os.environ.get("WORKBENCH_DRUG_MAP")
        beside = self.folder / "rxnorm.sqlite"
        return Path(named) if named else beside if beside.is_file() else None

    @property
    def jobs_url(self) -> str:
        """The database of the retraining queue: WORKBENCH_JOBS_URL, or SQLite in the folder."""
        beside = self.folder.resolve() / "jobs.sqlite"
        return os.environ.get("WORKBENCH_JOBS_URL") or f"sqlite:///{beside}"
