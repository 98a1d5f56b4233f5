"""Options of `rsna pack`."""

from rsna.config.settings import AtLeastOne, require, settings


@settings
class PackOptions:
    out: str
    """Folder or URL (s3://bucket/pack) to write; a pack of the same set and settings is brought up to date."""
    run: str = ""
    """Run folder whose prepared images are packed."""
    cache: str = ""
    """Or a cache of prepared images: <cache_dir>/<dataset>/<preprocessing hash>."""
    shard_mib: AtLeastOne = 1024
    """Size of a shard, MiB."""

    def __post_init__(self) -> None:
        require(bool(self.run) != bool(self.cache), "run: give run=FOLDER or cache=FOLDER, one of them")
