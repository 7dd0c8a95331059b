"""What mkdocs calls: generated pages go in, links into the repository lead to pages of their own, formulas become MathML."""

import sys
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))

import api
import choose
import formulas
import gallery
import libraries
import limits
import objectives
import repository

GENERATORS = (objectives, choose, gallery, limits, libraries, api)
"""Modules with `pages()`, Markdown by path in docs/."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Completes what mkdocs.yml says."""
    if not config.site_url:  # both need an address
        config.theme.static_templates -= {"404.html", "sitemap.xml"}
    objectives.nav(config.nav)
    libraries.nav(config.nav)
    api.nav(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds what is generated; nothing of it is written into docs/."""
    made = {name: text for generator in GENERATORS for name, text in generator.pages().items()}
    made |= {name: (repository.ROOT / path).read_text(encoding="utf-8") for path, name in repository.PAGES.items()}
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    texts = {
        page.src_uri: page.content_string for page in files.documentation_pages() if not page.inclusion.is_excluded()
    }
    for name, content in repository.needed(texts).items():
        if isinstance(content, Path):
            files.append(File.generated(config, name, abs_src_path=str(content)))
        else:
            files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links into the repository, and to the page of each library."""
    if page.file.src_uri == "peers.md":
        markdown = libraries.linked(markdown)
    return repository.linked(markdown, PurePosixPath(page.file.src_uri))[0]


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas, and names of the library as links."""
    return api.linked(formulas.drawn(html), page.file.dest_uri)
