"""The examples of docs/python.md give what the page shows, in one session from top to bottom."""

import doctest
import re

import numpy as np

from earwitness.features.store import write
from earwitness.metrics import java
from earwitness.metrics.java import ptb_tokenize
from tests.places import ROOT

PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")


def test_examples_give_what_the_page_shows(tmp_path, monkeypatch):
    known: dict[str, str] = {}

    def tokenize_once(texts):  # one start of Java for the texts that all examples share
        new = [text for text in dict.fromkeys(texts) if text not in known]
        known.update(zip(new, ptb_tokenize(new), strict=True))
        return [known[text] for text in texts]

    monkeypatch.setattr(java, "ptb_tokenize", tokenize_once)
    monkeypatch.chdir(tmp_path)
    for name in re.findall(r'features\.read\("(.+?)"\)', PAGE):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        write(path, [(clip, np.ones((3, 2), dtype=np.float32)) for clip in ("a.wav", "b.wav")], 2, {})
    page = re.sub("^```.*$", "", PAGE, flags=re.MULTILINE)
    examples = doctest.DocTestParser().get_doctest(page, {}, "docs/python.md", "docs/python.md", 0)
    told: list[str] = []
    failed, tried = doctest.DocTestRunner(verbose=False).run(examples, out=told.append)
    assert not failed, "".join(told)
    assert tried == len(re.findall("^>>> ", PAGE, re.MULTILINE)) > 20


def test_every_block_of_python_is_an_example():
    for code in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        assert code.startswith(">>> "), code
