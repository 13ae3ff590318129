"""The corpus. `shown` is what a reader has to see of a case, letter by letter; most would set `hacked`."""

from typing import NamedTuple

EVIL = "http://evil.example"
SCRIPT = "<script>window.hacked=1;alert(1)</script>"
IMAGE = f'<img src=x onerror="window.hacked=1;alert(1)"><img src={EVIL}/pixel>'


class Case(NamedTuple):
    """Bytes of somebody who means harm."""

    data: bytes
    shown: str = ""


def text(words: str) -> Case:
    """What has to be seen exactly as it is."""
    return Case(words.encode(), words)


#: Lines of a log.
LOG = {
    "script": text(SCRIPT),
    "script in capitals": text("<SCRIPT SRC=//evil.example/x.js></SCRIPT>"),
    "handler": text(IMAGE),
    "svg": text("<svg/onload=window.hacked=1><animate onbegin=window.hacked=1 attributeName=x dur=1s>"),
    "end of our element": text(f"</span></pre></section>{SCRIPT}"),
    "end of a title": text(f"</title></style></textarea></noscript>{SCRIPT}"),
    "comment": text(f"<!--{SCRIPT}--><!--><script>window.hacked=1</script>-->"),
    "cdata": text(f"<![CDATA[{SCRIPT}]]>"),
    "frame": text(f"<iframe srcdoc='{SCRIPT}'></iframe><object data={EVIL}></object><embed src={EVIL}>"),
    "base and refresh": text(f'<base href={EVIL}/><meta http-equiv=refresh content="0;url={EVIL}">'),
    "form": text(f"<form action={EVIL}><button autofocus>Sign in again</button></form>"),
    "style": text(f"<style>@import '{EVIL}/x.css';*{{background:url({EVIL}/y)}}</style>"),
    "link": text("javascript:window.hacked=1 <a href=javascript:window.hacked=1>here</a>"),
    "entities": text("&lt;script&gt;&#60;script&#62;&amp;lt;&nbsp;&NotAnEntity;"),
    "template of jinja": text("{{7*7}}{% raw %}{{config}}{# x #}${7*7}#{7*7}<%=7*7%>"),
    "template of javascript": text("`${window.hacked=1}` </script><script>window.hacked=1//"),
    "json": text('","state":"lost"}\\u003cscript\\u003e'),
    "json breakers": Case("json \u2028 and \u2029 inside".encode(), "and"),
    "event stream": Case(b'\n\nevent: end\ndata: {"state": "lost"}\nid: 9.9\nretry: 1\n\n', "event: end"),
    "event stream by carriage returns": Case(b"\r\revent: end\rdata: {}\r\rafter returns", "after returns"),
    "osc 8": Case(b"\x1b]8;;javascript:window.hacked=1\x1b\\click\x1b]8;;\x1b\\ me", "click me"),
    "osc 8 with html": Case(b'\x1b]8;;"onclick=window.hacked=1 x="\x07press\x1b]8;;\x07 me', "press me"),
    "osc title and clipboard": Case(b"\x1b]0;owned\x07\x1b]52;c;ZXZpbA==\x07titled", "titled"),
    "colours with html": Case(
        b'\x1b[31;"><script>window.hacked=1</script>mred', "<script>window.hacked=1</script>"
    ),
    "half an escape": Case(b"\x1b[31", ""),
    "many parameters": Case(b"\x1b[" + b"1;" * 5000 + b"31mmany", "many"),
    "cursor and clear": Case(b"kept\x1b[2J\x1b[H\x1b[0J here", "kept here"),
    "drawn over": Case(b"above\nkept\x1b[1A\x1b[K here\x1b[1B", "abov here"),
    "device control": Case(b"\x1bP+q544e\x1b\\\x1b[6n\x1b[c\x1bc asked", "asked"),
    "bidi": Case("abc\u202egnp.exe\u2066\u2069".encode(), "abc\ufffdgnp.exe\ufffd\ufffd"),
    "zero width": Case("pass\u200bword\u200d\u200e".encode(), "pass\ufffdword\ufffd\ufffd"),
    "homoglyphs": text("раураl \uff1cscript\uff1ealert(1)\uff1c/script\uff1e"),
    "combining": text("z" + "\u0335\u0336\u0337" * 60),
    "backspaces": Case(b"rm -rf /" + b"\b" * 8 + b"ls", "ls"),
    "carriage returns": Case(b"first\r" * 3000 + b"the last", "the last"),
    "nul": Case(b"a\0b<script\0>window.hacked=1</script>", "<script\ufffd>window.hacked=1</script>"),
    "control characters": Case(bytes(range(1, 9)) + b"\x0b\x0c\x0e\x7f\xc2\x85end of them", "end of them"),
    "invalid utf-8": Case(b"\xff\xfe\xc0\xbcscript\xc0\xbe\xed\xa0\x80\xf8\x88", "script"),
    "utf-7 and utf-16": Case(b"+ADw-script+AD4- \xff\xfe<\0s\0", "+ADw-script+AD4-"),
    "formula": text('=HYPERLINK("http://evil.example/","x")'),
    "progress": Case(f"::hermes progress 0.5 {IMAGE}".encode(), IMAGE),
    "progress out of range": text("::hermes progress 1e999 {{7*7}}"),
    "metric": text(f"::hermes metric {SCRIPT}=1 loss<b>=nan"),
    "group": Case(f"::group::{SCRIPT}".encode(), SCRIPT),
}

#: Names of artifacts, and what is in them.
FILES = {
    SCRIPT.replace("/", "%2f"): b"plain",
    '"><img src=x onerror=window.hacked=1>.txt': SCRIPT.encode(),
    "page.html": f"<!doctype html><title>x</title>{SCRIPT}{IMAGE}".encode(),
    "page.xhtml": b'<html xmlns="http://www.w3.org/1999/xhtml"><script>window.hacked=1</script></html>',
    "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="window.hacked=1"/>',
    "svg as.png": b'<svg xmlns="http://www.w3.org/2000/svg"><script>window.hacked=1</script></svg>',
    "html as.png": SCRIPT.encode(),
    "gif and script.gif": b"GIF89a=1/*\x01\0\x01\0\0\0\0*/;window.hacked=1//" + SCRIPT.encode(),
    "png and html.png": bytes.fromhex("89504e470d0a1a0a") + SCRIPT.encode() + IMAGE.encode(),
    "jpeg and html.jpg": b"\xff\xd8\xff\xe0" + SCRIPT.encode(),
    "webp and html.webp": b"RIFF\0\0\0\0WEBP" + SCRIPT.encode(),
    "pdf and script.pdf": b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(alert(1))>>>>" + SCRIPT.encode(),
    "entities.xml": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "style.xml": b'<?xml version="1.0"?><?xml-stylesheet href="http://evil.example/x.xsl"?><a/>',
    "table.csv": b'=HYPERLINK("http://evil.example/"),<script>window.hacked=1</script>\n@SUM(1),+cmd|calc\n',
    "data.json": b'{"__proto__": {"hacked": 1}, "a": "</script><script>window.hacked=1</script>"}',
    "notes.md": b"[x](javascript:window.hacked=1) ![y](http://evil.example/p.png) <script>hacked=1</script>",
    "code.js": b"window.hacked=1",
    "utf-7.txt": b"+ADw-script+AD4-window.hacked=1+ADw-/script+AD4-",
    "gnp.\u202etxt.exe": b"MZ",
    "zero\u200bwidth.txt": b"x",
    "line\u2028break.txt": b"x",
    "javascript:window.hacked=1": b"x",
    "..;filename=x.html\"; y='": b"x",
    "%00%0d%0aSet-Cookie: a=b.txt": b"x",
    "{{7*7}}.txt": b"{{7*7}}",
    "=1+1.csv": b"=1+1",
    "a" * 200 + ".txt": b"x",
}

#: Subject, body and author of commits.
COMMITS = (
    (SCRIPT, IMAGE, '"><script>window.hacked=1</script>'),
    (IMAGE, f"</pre>{SCRIPT}", "' onmouseover=window.hacked=1 x='"),
    (
        "</title><script>window.hacked=1</script>",
        "[a](javascript:window.hacked=1)",
        "{{7*7}}",
    ),
    ("{{7*7}} {% include '/etc/passwd' %}", "<!-- -->" + SCRIPT, "javascript:window.hacked=1"),
    ("fix \u202egnp.exe and zero\u200bwidth", "\u2028\u2029", "Adа\u202eLovelace"),
    ("&lt;b&gt; &amp;amp; \"quoted\" 'single'", "x" * 5000, "&lt;Ada&gt;"),
)

#: Branches that git takes, and that we refuse; the last two are stored.
REFS = (
    "<script>window.hacked=1</script>",
    "<img/src=x/onerror=window.hacked=1>",
    '"onmouseover="window.hacked=1',
    "'-alert(1)-'",
    "{{7-7}}",
    "javascript-alert(1)",
    "&lt;b&gt;",
    "раураl",
    "a+b#c=d-e",
    "x" * 190,
)

#: Values in the manifest.
ENVIRONMENT = {"HTML": SCRIPT, "IMAGE": IMAGE, "TEMPLATE": "{{7*7}}", "LINK": "javascript:window.hacked=1"}
ARGUMENTS = (SCRIPT, '"><img src=x onerror=window.hacked=1>', "{{7*7}}")
