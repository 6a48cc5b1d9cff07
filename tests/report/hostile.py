"""Measurements whose every word was chosen by somebody who means harm."""

from hypothesis import strategies as st

from cmemrun.model import Budget, Exit, Measurement, Oom
from tests.made_up import MIB, RUN

NASTY = (
    "a|b", "|", "||", "\\|", "\\\\|", "a\\", "`", "``", "` `", "```\nrm\n```", " a ", "   ",
    "` ", "`a`",
    "<script>alert(1)</script>", "<!--", "-->", "</code>", "&lt;&#124;&amp;", "&#10;",
    "[text](http://a.example)", "![](http://a.example/x.png)", "http://a.example", "www.a.example",
    "me@a.example", "@somebody", "#1", "*a*", "_a_", "__a__", "~~a~~", "<http://a.example>",
    "# a", "- a", "1. a", "> a", "| --- |", "---", "a\n\n# b", "a\r\n| x | y |", ":smile:", "\\*",
    "]]>", "<![CDATA[", "<?xml?>", "<!DOCTYPE a>", "\x00\x01\x08\x0b\x1b[31m", "\x7f\x85\x9b",
    "\ufffe\uffff",
    "\ud800", "\udcff", "\u202eabc", "\u2028", "é漢👩‍🚀",
    "::error::x", "a::b", "%0A::error::x", "%", "%25", "a,title=b", "a\n::stop-commands::x",
    "##[error]x",
    "a\nb=c", "a\nmarkdown<<EOF\nx\nEOF", "<<EOF", "EOF", "=", "a=b",
    '"', "'", '\\"', "\\n", 'a"} 1\n# EOF', "#", "# EOF", "$(id)", "`id`", "{}", "a" * 1100,
    "", "-bencher-ignore",
    # Terminals: titles, links, clipboards, in both forms of the controls and as lone bytes.
    "\x1b]0;t\x07", "\x1b]8;;http://a.example\x1b\\x", "\x1b]52;c;eA==\x07", "\x9b31m",
    "\x9d52;c;eA==\x9c", "\udc9b31m", "\udcc2\udc9b31m", "a\rb", "\u2066a\u2069",
    "\u200b\u2060\ufeff", "\U000e0041", "\b\b\b",
    "$\\frac{1}{0}$", "$", "$$", "\\alpha", "\\input{/etc/passwd}", "\\u0000",
    "=1+1", "+1", "-1", "@SUM(1)", "=cmd|'/c calc'!A1", "\t=1", '=HYPERLINK("http://a.example")',
    "@here", "[a]: http://a.example", "<img src=x onerror=alert(1)>", "javascript:alert(1)",
    "</title>", "</style>", "' onload='x", '" onload="x', "${{ github.token }}", "::add-mask::x",
    "##[group]x", "%0D%0A", 'a"}\ncmemrun_peak_bytes{command="b"} 0',
)  # fmt: skip

texts = st.sampled_from(NASTY) | st.text(
    st.sampled_from("|`\\<>&\"'%:,#=\n\r \t*_[]()!@$~-ab1.é\x00\x1b\ud800") | st.characters(),
    max_size=40,
)


def measurement(name: str, metric: str, verdict: str) -> Measurement:
    """One with a failing and a passing budget, of one run or several."""
    run = RUN._replace(
        command=(name, metric),
        exit=Exit(signal=9),
        oom=Oom(verdict),
        budgets=(Budget(metric, 1, 2, "exact"), Budget(f"{metric}2", 2, 1, verdict)),
        method=RUN.method._replace(lower_bound=True, group=f"/{name}", notes=(verdict,)),
    )
    odd = run._replace(exit=Exit(0), peak_bytes=3 * MIB)
    return Measurement(name, (run, run, odd) if len(metric) % 2 else (run,))


EVERYTHING = [
    # A run that may have been killed is in no typical value.
    measurement(word, word, verdict)
    for word in NASTY
    for verdict in ("none", word)
]
measurements = st.lists(
    st.builds(measurement, texts, texts, st.just("none") | texts), min_size=1, max_size=3
)
