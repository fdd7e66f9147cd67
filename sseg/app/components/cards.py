"""Model cards as HTML. Whoever made the weights wrote the card, so it may be read and nothing else: it shows no markup
of its own, no forms, and nothing that the browser would fetch from another server."""

from markdown_it import MarkdownIt

WEB = ("https://", "http://")


def html(markdown: str) -> str:
    """The card as HTML: pictures as their descriptions, links to other sites alone, HTML of its own as plain text."""
    return _MARKDOWN.render(markdown)


def _picture(renderer, tokens, place, options, env) -> str:
    return f"<em>{renderer.renderInlineAsText(tokens[place].children, options, env)}</em>"


def _link(renderer, tokens, place, options, env) -> str:
    token = tokens[place]
    if str(token.attrGet("href")).startswith(WEB):
        token.attrs |= {"rel": "noopener noreferrer nofollow", "target": "_blank"}
    else:  # a file beside the card, which this server does not show
        token.attrs = {}
    return renderer.renderToken(tokens, place, options, env)


def _markdown() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False}).enable("table")
    made.add_render_rule("image", _picture)
    made.add_render_rule("link_open", _link)
    return made


_MARKDOWN = _markdown()
