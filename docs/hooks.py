"""Pages of the site that are kept elsewhere in the repository: cards, the Android guide, the pages of the root."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {  # page of the site: file of the repository
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "guides/android_app.md": "android/README.md",
    "security.md": "SECURITY.md",
    "workspace.md": "WORKSPACE.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages and their pictures."""
    for page, source in PAGES.items():
        files.append(File.generated(config, page, content=_relinked((ROOT / source).read_text(), page)))
    for card in sorted(ROOT.glob("zoo/*/README.md")):
        name, text = card.parent.name, card.read_text()
        for picture in (card.parent / "policies.png", card.parent / "boxes.jpg"):
            if picture.is_file():
                shown = f"{name}{picture.suffix}"
                text = text.replace(f"]({picture.name})", f"]({shown})")
                files.append(File.generated(config, f"presets/{shown}", abs_src_path=str(picture)))
        files.append(File.generated(config, f"presets/{name}.md", content=text))
    return files


def _relinked(text: str, page: str) -> str:
    """The links of a page, as the site has them; a link to a file that the site lacks becomes its label."""
    homes = {source: target for target, source in PAGES.items()}
    up = "../" * page.count("/")

    def link(match: re.Match) -> str:
        label, target = match.groups()
        if target.startswith(("http", "#")):
            return match.group()
        path, _, anchor = target.partition("#")
        path = path.removeprefix("../")
        found = homes.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if found is None:
            return label
        return f"[{label}]({up}{found}{'#' + anchor if anchor else ''})"

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)]+)\)", link, text)
