"""Checks that transformers tokenizes as the SentencePiece model in the same directory does.

  python tokenizer_check.py DIR [--random N] [--seed S] [--chat]

DIR holds tokenizer.model and the tokenizer files that griffin wrote. AutoTokenizer must load it without a message, and
give the ids of SentencePiece after that of <bos>. Two cases are not compared, because transformers differs by design:
  - control pieces in a text ("<bos>"): transformers replaces them by the piece, SentencePiece does not;
  - in transformers 4.57, the character U+2581 next to a space: it finds user-defined runs of spaces before it replaces
    spaces by that character.
Prints the differences and exits with status 1 if there are any. Run it with each version of transformers on PYTHONPATH.
"""

import argparse
import logging
import random
import sys
import warnings

import sentencepiece
import transformers

TEXTS = [
    "", "hello world", "The quick brown fox jumps over the lazy dog.", "Größe, naïve façade, Žluťoučký kůň", "Быстрая лиса",
    "Γρήγορη αλεπού", "敏捷的棕色狐狸", "素早い茶色の狐、カタカナ", "빠른 갈색 여우", "الثعلب البني السريع", "השועל החום", "तेज भूरी लोमड़ी",
    "สุนัขจิ้งจอก", "ቀበሮ", "𐌰𐌱𐌲 𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "e\u0301 é ﬁ Å Å ½ ①", "12345 6.789 1e-6 ٣٤",
    " leading", "  two leading", "trailing ", "trailing two  ", "double  space", " ", "  ", "   ", "    ", "     five", "      six", "a         nine",
    " " * 8, " " * 9, " " * 40, "\t", "\t\ttabs\t", "a\tb", "\n", "\n\n", "\n" * 7, "a\nb\n\nc\n\n\n\nd", "a \n b", " \n ", "\r\n", "a\r\nb\rc", "\v\f",
    "no-break\u00a0space", "\u00a0", "\u3000ideographic", "thin\u2009space", "zero\u200bwidth", "\u200d\u200c\u2060", "\ufeffmark", "\u2028line\u2029paragraph",
    "\x00", "nul\x00inside", "\x01\x02\x1b[0m\x7f", "\x80\x9f", "\ufffd\ufffe", "\U000e0001 \U0010ffff", "\u202eright to left",
    "😀", "👨‍👩‍👧‍👦 family", "🇩🇪🏴󠁧󠁢󠁳󠁣󠁴󠁿", "👍🏽❤️", "\u2581", "a\u2581b",
    "<start_of_turn>user\nHi there<end_of_turn>\n<start_of_turn>model\n", "x<start_of_turn> y", " <end_of_turn> ", "<start_of_turn", "<end_of_turn>>", "<unused0>", "<unused",
    "<mask> a", "<table></table>", "<h1>", "[@BOS@]", "<0x41>", "<0x0A>", "</s>", "def f(x):\n    return {\n        'a': 1,\n    }\n",
]
PIECES = list("abcdefgh the xyz  \t\n\r\u00a0é狐한न😀<>_1239'\"\\/{}()") + [
    "<start_of_turn>", "<end_of_turn>", "\n\n", "  ", "    ", "     ", "<table>", "hello", "лиса", "e\u0301", "\x00", "\u3000", "<unused1>"]


class LogCapture(logging.Handler):
    """Collects log messages."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def load(path):
    """The tokenizer, and the messages of transformers while loading it."""
    log = LogCapture()
    logging.getLogger("transformers").addHandler(log)
    transformers.logging.set_verbosity_warning()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    log.messages += [str(w.message) for w in caught if "transformers" in str(w.filename)]
    return tokenizer, log.messages


def chat_problems(tokenizer, model):
    turn, end = model.piece_to_id("<start_of_turn>"), model.piece_to_id("<end_of_turn>")
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": " Hi\n"}, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "go"}],
        tokenize=False, add_generation_prompt=True)
    want = ("<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nyes<end_of_turn>\n"
            "<start_of_turn>user\ngo<end_of_turn>\n<start_of_turn>model\n")
    if text != want:
        yield f"chat: {text!r}, want {want!r}"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if ids != [model.bos_id()] + model.encode(want[len("<bos>"):]):
        yield f"chat: ids {ids}"
    if ids.count(turn) != 4 or ids.count(end) != 3:
        yield f"chat: {ids.count(turn)} turns begin and {ids.count(end)} end in {ids}, want 4 and 3"
    if "_of_turn>" in tokenizer.decode(ids, skip_special_tokens=True):
        yield "chat: decoding does not skip the turn tokens as special tokens"
    for roles in (["system", "user"], ["assistant"], ["user", "user"]):
        try:
            tokenizer.apply_chat_template([{"role": r, "content": "x"} for r in roles], tokenize=False)
            yield f"chat: roles {roles} are accepted"
        except Exception:
            pass


def problems(args):
    tokenizer, messages = load(args.dir)
    model = sentencepiece.SentencePieceProcessor(model_file=f"{args.dir}/tokenizer.model")
    for line in messages:
        yield f"transformers prints: {line}"
    if len(tokenizer) != len(model):
        yield f"the vocabulary has {len(tokenizer)} tokens, that of SentencePiece {len(model)}"
    for name in ("bos", "eos", "pad", "unk"):
        ours, theirs = getattr(tokenizer, f"{name}_token_id"), getattr(model, f"{name}_id")()
        if ours != theirs:
            yield f"{name} is {ours}, in SentencePiece {theirs}"
    rng = random.Random(args.seed)
    texts = TEXTS + ["".join(rng.choices(PIECES, k=rng.randint(1, 16))) for _ in range(args.random)]
    for text in texts:
        want, got = [model.bos_id()] + model.encode(text), tokenizer(text)["input_ids"]
        if want != got:
            yield f"{text!r}: {got}, SentencePiece gives {want}"
        elif tokenizer.decode(got[1:]) != model.decode(want[1:]):
            yield f"{text!r}: decoded to {tokenizer.decode(got[1:])!r}, SentencePiece gives {model.decode(want[1:])!r}"
    if args.chat:
        yield from chat_problems(tokenizer, model)
    elif tokenizer.chat_template:
        yield "there is a chat template"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir")
    parser.add_argument("--random", type=int, default=2000, help="number of random texts (default: 2000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chat", action="store_true", help="the model is instruction-tuned: check its chat template")
    args = parser.parse_args()
    found = list(problems(args))
    for line in found[:20]:
        print("  ", line)
    if found:
        sys.exit(f"tokenizer, transformers {transformers.__version__}: {len(found)} differences")
    print(f"tokenizer, transformers {transformers.__version__}: {len(TEXTS) + args.random} texts tokenized as by SentencePiece")


if __name__ == "__main__":
    main()
