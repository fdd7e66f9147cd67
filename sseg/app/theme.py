"""Look of the page: neutral greys, one accent, system fonts; light and dark as the system says."""

from pathlib import Path

import gradio as gr

# Accent on white 6.6:1, white on accent 6.6:1; in the dark, accent on #16181c 8.4:1, near-black on accent 8.6:1.
ACCENT, ACCENT_DARK = "#3949c6", "#a9b4ff"
_HUE = gr.themes.Color(
    c50="#eef0fd", c100="#dfe3fb", c200="#c3caf7", c300="#a9b4ff", c400="#7d8bec", c500=ACCENT, c600=ACCENT,
    c700="#2f3da8", c800="#28348b", c900="#222c70", c950="#161d4a", name="accent",
)  # fmt: skip
_GREY = gr.themes.Color(
    c50="#f7f7f8", c100="#eeeff1", c200="#e0e2e6", c300="#c6c9d0", c400="#9a9fa9", c500="#646a76", c600="#4e545f",
    c700="#3a3f48", c800="#26292f", c900="#1b1d22", c950="#131519", name="grey",
)  # fmt: skip

STYLES = ("page", "viewer", "clusters", "panels", "compare")
CSS_FILES = [Path(__file__).with_name("static") / f"{name}.css" for name in STYLES]


def theme() -> gr.themes.Base:
    sans = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif")
    mono = ("ui-monospace", "SFMono-Regular", "Menlo", "DejaVu Sans Mono", "monospace")
    return gr.themes.Base(
        primary_hue=_HUE, secondary_hue=_HUE, neutral_hue=_GREY, font=sans, font_mono=mono, radius_size="md"
    ).set(
        body_background_fill="#f7f7f8",
        body_background_fill_dark="#131519",
        block_background_fill="white",
        block_background_fill_dark="#1b1d22",
        block_border_width="1px",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_300",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        color_accent=ACCENT,
        slider_color=ACCENT,
        slider_color_dark=ACCENT_DARK,
        link_text_color=ACCENT,
        link_text_color_dark=ACCENT_DARK,
        button_primary_background_fill=ACCENT,
        button_primary_background_fill_hover="#2f3da8",
        button_primary_text_color="white",
        button_primary_background_fill_dark=ACCENT_DARK,
        button_primary_background_fill_hover_dark="#c3caf7",
        button_primary_text_color_dark="#131519",
        button_secondary_background_fill="white",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_border_color="*neutral_300",
        button_border_width="1px",
        input_background_fill="white",
        input_background_fill_dark="#131519",
        input_border_width="1px",
        input_border_color="*neutral_400",
        input_border_color_dark="*neutral_500",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
    )
