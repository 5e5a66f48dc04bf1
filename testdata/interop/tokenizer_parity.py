"""Writes texts with the tokens that SentencePiece splits them into, for the tests of reference/tokenizer.

  python.sh current tokenizer_parity.py OUT.json [--model MODEL] [--random N] [--seed S] [--train PIECES]

Without --model, a model of --train pieces is trained on words of random characters of many scripts, with the special
pieces of Gemma's tokenizer, and saved as OUT.model. The result is a list of {"text", "bytes", "ids", "decoded"}; "bytes"
is set, in hexadecimal, for texts that are not UTF-8, and "text" is null then.
"""

import argparse
import io
import json
import random

import sentencepiece

from make_tokenizer import USER_DEFINED
from tokenizer_check import PIECES, TEXTS

# Ranges of characters of many scripts.
SCRIPTS = {
    "latin": (0x61, 0x7A), "latin-1": (0xC0, 0xFF), "extended": (0x100, 0x17F), "vietnamese": (0x1EA0, 0x1EF9), "greek": (0x391, 0x3C9),
    "cyrillic": (0x410, 0x44F), "armenian": (0x561, 0x586), "hebrew": (0x5D0, 0x5EA), "arabic": (0x621, 0x64A), "devanagari": (0x905, 0x94D),
    "bengali": (0x985, 0x9B9), "tamil": (0xB85, 0xBCD), "thai": (0xE01, 0xE4E), "tibetan": (0xF40, 0xF6C), "georgian": (0x10D0, 0x10F0),
    "hangul": (0xAC00, 0xAFFF), "ethiopic": (0x1200, 0x1240), "khmer": (0x1780, 0x17B3), "hiragana": (0x3041, 0x3096), "katakana": (0x30A1, 0x30FA),
    "han": (0x4E00, 0x4FFF), "gothic": (0x10330, 0x1034A), "emoji": (0x1F600, 0x1F64F), "digits": (0x30, 0x39), "punctuation": (0x21, 0x2F),
}


# Runs, in which several merges have the same score.
RUNS = [c * n for c in "abefilmnoprst.0-=лаか" for n in (2, 3, 4, 5, 7)] + ["inin" * 3, "sssestsss"]


def words(rng):
    """Words of each script, made of few syllables, so that there are pieces to merge."""
    out = {}
    for name, (first, last) in SCRIPTS.items():
        syllables = ["".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 3))) for _ in range(25)]
        out[name] = ["".join(rng.choices(syllables, k=rng.randint(1, 5))) for _ in range(60)]
    return out


def train(path, pieces, rng, lexicon):
    every = [w for ws in lexicon.values() for w in ws]
    sentences = [" ".join(rng.choices(rng.choice(list(lexicon.values())), k=10)) for _ in range(4000)]
    sentences += [" ".join(rng.choices(every, k=10)) for _ in range(500)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=model, model_type="bpe", vocab_size=pieces, byte_fallback=True,
        pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>", unk_piece="<unk>",
        user_defined_symbols=USER_DEFINED, normalization_rule_name="identity", add_dummy_prefix=False,
        remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True, character_coverage=0.98,
        num_threads=1, minloglevel=2)
    with open(path, "wb") as f:
        f.write(model.getvalue())


def random_texts(rng, lexicon, count):
    """Texts of words, of pieces with special meanings, of any characters, and of any bytes."""
    every = [w for ws in lexicon.values() for w in ws]
    for i in range(count):
        kind = i % 5
        if kind == 0:
            yield rng.choice(["", " "]).join(rng.choices(rng.choice(list(lexicon.values())), k=rng.randint(1, 30)))
        elif kind == 1:
            yield " ".join(rng.choices(every, k=rng.randint(1, 30)))
        elif kind == 2:
            yield "".join(rng.choices(PIECES + USER_DEFINED + every, k=rng.randint(1, 30)))
        elif kind == 3:
            ranges = [(0, 0x7F), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF)]
            yield "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randint(1, 20)))
        else:
            raw = bytearray(" ".join(rng.choices(every, k=5)).encode())
            for _ in range(rng.randint(1, 4)):
                raw[rng.randrange(len(raw))] = rng.choice([0x80, 0xC3, 0xE2, 0xED, 0xF0, 0xF5, 0xFF, 0xA0])
            yield bytes(raw)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--model")
    parser.add_argument("--random", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=int, default=6000)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    lexicon = words(rng)
    path = args.model
    if not path:
        path = args.out.removesuffix(".json") + ".model"
        train(path, args.train, rng, lexicon)
    model = sentencepiece.SentencePieceProcessor(model_file=path)
    out = []
    for text in TEXTS + RUNS + list(random_texts(rng, lexicon, args.random)):
        ids = model.encode(text)
        entry = {"text": text, "ids": ids, "decoded": model.decode(ids)}
        if isinstance(text, bytes):
            entry["text"], entry["bytes"] = None, text.hex()
        out.append(entry)
    with open(args.out, "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(e, ensure_ascii=True) for e in out) + "\n]\n")


if __name__ == "__main__":
    main()
