"""Trains the small SentencePiece model of the tokenizer tests: BPE with byte fallback and the special pieces of Gemma's
tokenizer (padding, end, beginning, unknown; turns; runs of newlines and spaces).

  python.sh current make_tokenizer.py ../../convert/testdata/tokenizer.model
"""

import io
import random
import sys

import sentencepiece

SENTENCES = [
    "The quick brown fox jumps over the lazy dog.", "A checkpoint is a list of named tensors.",
    "Griffin mixes gated linear recurrences with local attention.", "what moved, and how much?",
    "Der flinke braune Fuchs springt über den faulen Hund, größer als je zuvor.", "El zorro salta; ¿por qué no?",
    "Быстрая коричневая лиса прыгает через ленивую собаку.", "Γρήγορη καφέ αλεπού",
    "敏捷的棕色狐狸跳过懒狗。", "素早い茶色の狐が怠け者の犬を飛び越える。", "빠른 갈색 여우가 개를 뛰어넘는다",
    "الثعلب البني السريع يقفز فوق الكلب الكسول", "השועל החום קופץ", "तेज भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है",
    "def f(x):\n    return x + 1\n", "weights = [1, 22, 333]\n\n", "3.14159 and 2024 and 100000",
]
USER_DEFINED = (["<mask>", "<2mass>", "[@BOS@]"] + [f"<unused{i}>" for i in range(4)] + ["<start_of_turn>", "<end_of_turn>"]
                + ["\n" * n for n in range(1, 6)] + ["\u2581" * n for n in range(2, 9)] + ["<table>", "</table>", "<h1>"])


def sentences():
    rng = random.Random(7)
    for _ in range(600):
        yield rng.choice(SENTENCES)
        words = " ".join(rng.choices(SENTENCES, k=2)).split(" ")
        rng.shuffle(words)
        yield " ".join(words[:12])


def main():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences(), model_writer=model, model_type="bpe", vocab_size=1000, byte_fallback=True,
        pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>", unk_piece="<unk>",
        user_defined_symbols=USER_DEFINED, normalization_rule_name="identity", add_dummy_prefix=False,
        remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True, num_threads=1, minloglevel=2)
    with open(sys.argv[1], "wb") as f:
        f.write(model.getvalue())


if __name__ == "__main__":
    main()
