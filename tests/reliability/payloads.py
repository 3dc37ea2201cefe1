"""Names that attack whoever shows, stores or runs them."""

from __future__ import annotations

MARKUP = [
    "<script>window.pwned=1</script>", "</script><script>window.pwned=1</script>",
    "<img src=x onerror=pwned()>", "<svg onload=window.pwned=1>", '"\'><svg/onload=pwned()>',
    "' onmouseover='pwned()", '" autofocus onfocus="pwned()', "<a href='javascript:pwned()'>x</a>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'>", "<b>bold</b>", "<style>*{display:none}</style>",
    "<base href=//evil>", "<meta http-equiv=refresh content=0>", "<!-- ", "-->", "]]>", "&lt;script&gt;",
    "&#60;img src=x onerror=pwned()&#62;", "\\u003cscript\\u003e", "<scr\x00ipt>", "{{7*7}}", "${7*7}",
    "%3Cscript%3E", "<math><mtext></mtext><script>pwned()</script></math>", "</title><script>", "</style>",
    "<textarea>", "<noscript><p title='</noscript><img src=x onerror=pwned()>'>",
    "<form action=//evil><input>",
]  # fmt: skip
TEXT = [
    "\x1b[2J\x1b[31mred", "a\rb", "a\nb", "\x00", "\x07", "\u202egnp.exe", "\udcff", "\ufeff", "\u2028",
    "𝒳" * 50, "%s%n%d", "=cmd|' /C calc'!A0", "@SUM(1)", "a" * 5000, "$\\frac{", "_x^{y}", "--help", "-o",
    "", " ", ".",
]  # fmt: skip
PATHS = [
    "../escaped", "../../escaped", "..", "/absolute", "~/home", "C:\\x", "\\\\server\\share",
    "a/../../escaped", "con", "nul.txt", "$(touch escaped)", "`touch escaped`", ";touch escaped;",
    "|touch escaped", "&&touch escaped", "$HOME", "*", "?", "[a-z]", "escaped\n", "file://escaped",
    "http://localhost/escaped", "%2e%2e%2fescaped",
]  # fmt: skip
# The rest are pairs: one kind of attack within another.
PAIRS = [a + b for a, b in zip(MARKUP * 8, TEXT * 9 + PATHS, strict=False)]
PAYLOADS = list(dict.fromkeys(MARKUP + TEXT + PATHS + PAIRS))[:200]
