"""Makes pages of the README and its neighbours, so that the site says nothing a second time.

On the repository's own site a page links to any file beside it. Here a link to a file that became a page leads
to that page, one to a picture stays, and one to any other file of the repository becomes the file's name. A
link to what is not there is left as it is, and mkdocs refuses it.
"""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security-policy.md",
    "CONTRIBUTING.md": "contributing.md",
}
DOCS = "docs/"
LINK = re.compile(r'\[(?P<text>[^\]]*)\]\((?P<target>(?![a-z]+:|#)[^)\s]+)\)|src="(?P<src>docs/[^"]+)"')


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Say at the foot of each page which version it is about."""
    (version,) = re.findall(
        r'^__version__ = "(.+)"$', (ROOT / "waitroom/__init__.py").read_text("utf-8"), re.M
    )
    config.copyright = f"waitroom {version}, MIT licensed"
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages whose sources are not in docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn a page's links from the repository's folders to the site's."""
    origins = {made: source for source, made in PAGES.items()}
    origin = origins.get(page.file.src_uri, DOCS + page.file.src_uri)

    def turn(link: re.Match[str]) -> str:
        if link["src"]:
            return f'src="{link["src"].removeprefix(DOCS)}"'
        path, mark, anchor = link["target"].partition("#")
        file = normpath(PurePosixPath(origin).parent / path)
        made = PAGES.get(file) or (file.removeprefix(DOCS) if file.startswith(DOCS) else None)
        if made:
            return f"[{link['text']}]({relpath(made, PurePosixPath(page.file.src_uri).parent)}{mark}{anchor})"
        if (ROOT / file).exists():
            return link["text"] if link["text"].strip("`") == file else f"{link['text']} (`{file}`)"
        return link[0]

    return LINK.sub(turn, markdown)
