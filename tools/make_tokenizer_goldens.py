#!/usr/bin/env python3
"""Makes tests/tokenizer/data: small tokenizers in the configuration of each model family, trained
on the text below, and what Hugging Face `tokenizers` and `sentencepiece` do with odd texts.

Needs: tokenizers, sentencepiece, protobuf, transformers. Run from the repository root.
"""

from __future__ import annotations

import base64
import io
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import sentencepiece as spm
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

OUT = Path("tests/tokenizer/data")

CORPUS = """
The quick brown fox jumps over the lazy dog. It's a dog's life, isn't it? We'll see what they've done.
Once upon a time there was a little girl who lived in a small house near the forest. She liked to play.
In 1984 there were 1,234,567 people; in 2024 there were 7654321. Pi is 3.14159265 and e is 2.71828.
def fibonacci(n: int) -> int:
    if n < 2:
        return n
    return fibonacci(n - 1) + fibonacci(n - 2)
for (int i = 0; i < 10; ++i) { std::cout << "value: " << values[i] << '\\n'; }
Größe, Straße, Äpfel und Übung: schöne Grüße aus München! Voilà, un café crème à côté de l'hôtel.
El niño comió mañana; ¿dónde está la biblioteca? ¡Qué sorpresa! Zażółć gęślą jaźń. Příliš žluťoučký kůň.
Съешь же ещё этих мягких французских булок, да выпей чаю. Привет, мир! Как дела сегодня?
Η γρήγορη καφέ αλεπού πηδάει πάνω από το σκυλί. Καλημέρα κόσμε. שלום עולם, מה שלומך היום?
مرحبا بالعالم، كيف حالك اليوم؟ नमस्ते दुनिया, आप कैसे हैं? สวัสดีชาวโลก วันนี้อากาศดี
你好，世界！今天天气很好，我们去公园散步吧。床前明月光，疑是地上霜。中华人民共和国
こんにちは世界。今日はいい天気ですね。カタカナとひらがなと漢字。안녕하세요 세계, 오늘 날씨가 좋네요.
😀 😃 👍🏽 👩‍👩‍👧‍👦 🇩🇪 ❤️ emoji are fun 🎉🎉🎉
"""

STRINGS = [
    "", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n ", "a", " a", "a ", "  a  b   c  ",
    "Hello world", " Hello world", "Hello, world! It's 2024.", "I'm you're he'S WE'LL They'vE d'D",
    "\tindented\n\t\tmore\n", "line one\r\nline two\r\n\r\nline four", "trailing spaces   ",
    "   leading spaces", "x\u00a0y \u00a0 z", "全角\u3000空格\u3000", "\u2003em space\u2009thin\u200a",
    "zero\u200bwidth\u200cjoin\u200d\ufeffbom", "\u180emongolian\u180e \u0085next",
    "\u2028line\u2029para", "1 12 123 1234 12345 1234567890",
    "3.14, -2.5e10, 0xFF, 1/2 ½ ² Ⅷ ٣٤٥ १२३",
    "def f(x):\n    return x**2  # square\n\n\nclass A:\n\tpass\n",
    "if (a&&b||!c) { x->y = *p; /* c */ } // done", '<html><body class="x">&amp;</body></html>',
    "!!!???...,,,;;;:::---___===+++", "a.b,c;d:e!f?g", "don't can't won't ain’t it’s",
    "Größe Straße Äpfel ÀÉÎÕÜ ñ ç ø å",
    "cafe\u0301 nai\u0308ve A\u030a\u0323 \u1e69 e\u0301\u0323\u0302", "ﬁne ﬂow ＡＢＣ １２３ ㌔ ℌ ™ ① ǅ ŉ",
    "Привет, мир! Ёжик", "Γειά σου Κόσμε ΟΔΟΣ ς", "שָׁלוֹם עולם", "مرحبا بالعالم ١٢٣",
    "नमस्ते दुनिया क्षत्रिय", "สวัสดีชาวโลก", "កាន់តែពិសេស", "你好，世界！今天天气很好。",
    "漢字かなカナ混じり文、ﾊﾝｶｸ。", "안녕하세요 세계 각 \u1100\u1161\u11a8", "中文English混排123数字",
    "İstanbul I ı i ẞ ß ǰ K Å", "ſ long 'ſ S'ſ", "😀", "😀😃 🎉", "👩‍👩‍👧‍👦 family", "👍🏽 🇩🇪🇫🇷 ❤️ ☺",
    "a😀b c🎉d", "\U0001f999.cpp \U0001d54f \U00020000\U0002a6d6", "\x00nul\x01\x02\x1f\x7f\x80",
    "bell\x07 esc\x1b[0m \x0b\x0c", "▁meta▁space ▁ Ġbyte Ċ", "<0x41><0x0A> <unk>", "<s>",
    "<s>Hello</s>", " <s> Hello </s> ", "a<|endoftext|>b <|endoftext|>",
    "<|im_start|>user\nHi<|im_end|>\n", "<|begin_of_text|><|eot_id|>x", "<bos>text<eos>",
    "[CLS] a [SEP] [MASK]ed x[MASK] [MASK] y", "<mask> x<mask>y <mask>\n z", "foo  <|end|>  \n bar",
    "the_end the-end theend added_token xadded_token added_token!",
    "http://example.com/a?b=c&d=e#f user@mail.org", "a" * 64, "ab" * 60, " " * 70 + "x",
    "\n" * 9 + " " * 5 + "\n y", "word " * 30, "- - -- --- ---- a-b - c", "0" * 50,
    "supercalifragilisticexpialidocious antidisestablishmentarianism", CORPUS[:700],
]
INVALID = [
    b"\xff", b"abc\xff\xfedef", b"\xe4\xbd", b"\xe4\xbd\xa0\xe5", b"\xf0\x9f\x98", b"\xf0\x9f\x98x",
    b"\xc0\xafx\xe0\x80\x80", b"\xed\xa0\x80\xed\xb0\x80", b"\xf4\x90\x80\x80 \xf8\x88\x80\x80\x80",
    b"ok \x80\x80 ok", b"\xe2\x96",
]
TEXTS: list[bytes] = [s.encode("utf-8") for s in STRINGS] + INVALID
DECODED_TEXTS = [b.decode("utf-8", errors="replace") for b in TEXTS]

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
BAILING = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]"
    r"|\s+(?!\S)|\s+"
)
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SUFFIX}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK_LLM = [
    "[\r\n]",
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗ]+",
    r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
    r"\s+$",
    "[一-龥ࠀ-一가-퟿]+",
]
DEEPSEEK_V3 = [
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
]

Config = dict[str, Any]
BYTE_LEVEL: Config = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BYTES_ONLY: Config = {**BYTE_LEVEL, "use_regex": False}
BYTE_DECODER: Config = {**BYTE_LEVEL, "add_prefix_space": True}
LLAMA_DECODER: Config = {
    "type": "Sequence",
    "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ],
}
LLAMA_NORMALIZER: Config = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ],
}


def split(regex: str, behavior: str = "Isolated", invert: bool = False) -> Config:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def split_at(text: str, behavior: str, invert: bool = False) -> Config:
    return {"type": "Split", "pattern": {"String": text}, "behavior": behavior, "invert": invert}


def metaspace(scheme: str, cut: bool) -> Config:
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}


def digits(single: bool) -> Config:
    return {"type": "Digits", "individual_digits": single}


def steps(*items: Config) -> Config:
    return {"type": "Sequence", "pretokenizers": list(items)}


def token(content: str, **flags: Any) -> Config:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"content": content, **plain, **flags}


def template(before: list[str], after: list[str], ids: dict[str, int]) -> Config:
    def special(t: str) -> Config:
        return {"SpecialToken": {"id": t, "type_id": 0}}

    single = [*map(special, before), {"Sequence": {"id": "A", "type_id": 0}}, *map(special, after)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in before + after},
    }


def lines() -> list[str]:
    return [line for line in CORPUS.split("\n") if line]


def shell(**parts: Any) -> Tokenizer:
    """A tokenizer with an empty BPE model and these parts."""
    return Tokenizer.from_str(json.dumps({**json.loads(Tokenizer(models.BPE()).to_str()), **parts}))


def train_byte_level(pre: Config, normalizer: Config | None, size: int) -> Config:
    """The model part of a byte-level BPE tokenizer."""
    t = shell(pre_tokenizer=pre, normalizer=normalizer)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    t.train_from_iterator(
        lines(), trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=alphabet)
    )
    return json.loads(t.to_str())["model"]


def train_characters(size: int, special: list[str]) -> Config:
    """A BPE model over characters with byte fallback and Llama 2's order of tokens."""
    t = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    names = special + [f"<0x{b:02X}>" for b in range(256)]
    # The later lines are left to byte fallback.
    t.train_from_iterator(
        lines()[:11] + ["▁▁ ▁▁▁▁ ▁▁▁▁▁▁▁▁"] * 4,
        trainers.BpeTrainer(vocab_size=size, show_progress=False, special_tokens=names, limit_alphabet=110),
    )
    return json.loads(t.to_str())["model"]


def document(model: Config, added: list[Config], **parts: Any) -> Config:
    """A tokenizer.json; added tokens have their vocabulary ids or follow the vocabulary."""
    vocab = model["vocab"]
    ids = dict(vocab) if isinstance(vocab, dict) else {t: i for i, (t, _) in enumerate(vocab)}
    listed = []
    for t in added:
        ids.setdefault(t["content"], len(ids))
        listed.append({"id": ids[t["content"]], **t})
    if frame := parts.pop("frame", None):
        parts["post_processor"] = template(*frame, ids)
    if parts.pop("byte_level_first", False):
        parts["post_processor"] = {"type": "Sequence", "processors": [BYTE_LEVEL, parts["post_processor"]]}
    empty = {"normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": listed, **empty, **parts, "model": model}


def byte_level(pre: Config, added: list[Config], **parts: Any) -> Config:
    model = train_byte_level(pre, parts.get("normalizer"), parts.pop("size", 700))
    model.update(parts.pop("model", {}))
    return document(model, added, pre_tokenizer=pre, decoder=BYTE_DECODER, **parts)


def character_families() -> dict[str, Config]:
    llama = train_characters(800, ["<unk>", "<s>", "</s>"])
    gemma = train_characters(800, ["<pad>", "<eos>", "<bos>", "<unk>"])
    three = [token("<unk>"), token("<s>"), token("</s>")]
    phi = [token("<|endoftext|>", rstrip=True), token("<|end|>", rstrip=True)]
    like_llama = {"normalizer": LLAMA_NORMALIZER, "decoder": LLAMA_DECODER, "frame": (["<s>"], [])}
    old_syntax = {**llama, "merges": [" ".join(m) for m in llama["merges"]]}
    names = [token(t) for t in ("<pad>", "<eos>", "<bos>", "<unk>")]
    return {
        "llama2": document(old_syntax, three, **like_llama),
        "mistral_v3": document(
            llama, three, decoder=LLAMA_DECODER, frame=(["<s>"], []), pre_tokenizer=metaspace("first", False)
        ),
        "phi3": document(llama, three + phi, **like_llama),
        "gemma": document(
            gemma,
            [*names, token("\n\n", special=False), token("<mask>", special=False)],
            normalizer={"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            pre_tokenizer=split_at(" ", "MergedWithPrevious"),
            decoder={"type": "Sequence", "decoders": LLAMA_DECODER["decoders"][:3]},
            frame=(["<bos>"], []),
        ),
    }


def byte_level_families() -> dict[str, Config]:
    end = token("<|endoftext|>")
    chat = [end, token("<|im_start|>"), token("<|im_end|>")]
    three = [token("<unk>"), token("<s>"), token("</s>")]
    post = {**BYTE_LEVEL, "trim_offsets": False}
    begin = [token("<|begin_of_text|>"), token("<|end_of_text|>"), token("<|eot_id|>")]
    spaces = [token(" " * n, special=False, normalized=True) for n in range(24, 1, -1)]
    word = token("added_token", special=False, single_word=True, normalized=True)
    falcon = [{"type": "Punctuation", "behavior": "Contiguous"}, BYTE_LEVEL, digits(False), split("[0-9][0-9][0-9]")]
    deepseek = [split(p) for p in DEEPSEEK_LLM] + [digits(True), BYTES_ONLY]
    deepseek_v3 = [split(p) for p in DEEPSEEK_V3] + [BYTES_ONLY]
    old_begin = [token("<s>", normalized=True), end]
    return {
        "gpt2": byte_level(BYTE_LEVEL, [token("<|endoftext|>", normalized=True)], post_processor=post),
        "roberta": byte_level(
            {**BYTE_LEVEL, "add_prefix_space": True}, [token("<s>"), token("</s>"), token("<mask>", lstrip=True)]
        ),
        "llama3": byte_level(
            steps(split(LLAMA3), BYTES_ONLY),
            begin,
            model={"ignore_merges": True},
            frame=(["<|begin_of_text|>"], []),
            byte_level_first=True,
        ),
        "qwen2": byte_level(
            steps(split(QWEN2), BYTES_ONLY),
            chat + [token("<think>", special=False)],
            normalizer={"type": "NFC"},
            post_processor=post,
        ),
        "bailing": byte_level(steps(split(BAILING), BYTES_ONLY), chat),
        "tekken": byte_level(steps(split(TEKKEN), BYTES_ONLY), three, frame=(["<s>"], [])),
        "o200k": byte_level(steps(split(O200K), BYTES_ONLY), [end], post_processor=post),
        "deepseek_llm": byte_level(steps(*deepseek), old_begin),
        "deepseek_v3": byte_level(steps(*deepseek_v3), old_begin),
        "falcon": byte_level(steps(*falcon), [end]),
        "starcoder": byte_level(steps(digits(True), BYTE_LEVEL), [end]),
        "mpt": byte_level(BYTE_LEVEL, [end, *spaces], normalizer={"type": "NFC"}, post_processor=post),
        "words": byte_level(
            BYTE_LEVEL,
            [word, token("The", special=False, normalized=True)],
            normalizer={"type": "Lowercase"},
            size=400,
        ),
    }


def other_families() -> dict[str, Config]:
    """Unigram with a charsmap, WordPiece and WordLevel."""
    model = train_sentencepiece(model_type="unigram", vocab_size=600, normalization_rule_tsv=rules_file())
    charsmap = base64.b64encode(sentencepiece_proto(model).normalizer_spec.precompiled_charsmap).decode()
    meta = metaspace("always", True)
    t = Tokenizer(models.Unigram())
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    names = ["<pad>", "</s>", "<unk>"]
    t.train_from_iterator(
        lines(),
        trainers.UnigramTrainer(vocab_size=600, show_progress=False, special_tokens=names, unk_token="<unk>"),
    )
    bert = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    bert.normalizer, bert.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    bert_names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    bert.train_from_iterator(
        lines(), trainers.WordPieceTrainer(vocab_size=700, show_progress=False, special_tokens=bert_names)
    )
    word_level = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    word_level.pre_tokenizer = pre_tokenizers.Whitespace()
    word_level.train_from_iterator(
        lines(), trainers.WordLevelTrainer(show_progress=False, special_tokens=["[UNK]"])
    )
    wordpiece = json.loads(bert.to_str())
    t5_normalizers = [
        {"type": "Precompiled", "precompiled_charsmap": charsmap},
        {"type": "Strip", "strip_left": False, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
    ]
    return {
        "t5": document(
            json.loads(t.to_str())["model"],
            [token(n) for n in names],
            frame=([], ["</s>"]),
            normalizer={"type": "Sequence", "normalizers": t5_normalizers},
            pre_tokenizer=meta,
            decoder=meta,
        ),
        "bert": document(
            wordpiece["model"],
            [token(n) for n in bert_names],
            frame=(["[CLS]"], ["[SEP]"]),
            normalizer=wordpiece["normalizer"],
            pre_tokenizer={"type": "BertPreTokenizer"},
            decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
        ),
        "word_level": document(
            json.loads(word_level.to_str())["model"], [token("[UNK]")], pre_tokenizer={"type": "Whitespace"}
        ),
    }


def rules_file() -> str:
    """Normalization rules for a small charsmap: sources and targets in hex code points."""
    rules = {
        "ﬁ": "fi", "ﬂ": "fl", "Ａ": "A", "Ｂ": "B", "Ｃ": "C", "１": "1", "２": "2", "３": "3", "㌔": "キロ",
        "\u3000": " ", "\u00a0": " ", "\t": " ", "\n": " ", "\r": "", "e\u0301": "é", "½": "1/2", "™": "TM",
        "\u200b": "", "ﾊ": "ハ", "\u1100\u1161": "가", "①": "1", "²": "2",
    }  # fmt: skip

    def code_points(text: str) -> str:
        return " ".join(f"{ord(c):X}" for c in text)

    path = Path(tempfile.mkdtemp()) / "rules.tsv"
    path.write_text("".join(f"{code_points(k)}\t{code_points(v)}\n" for k, v in rules.items()))
    return str(path)


def train_sentencepiece(**options: Any) -> bytes:
    model = io.BytesIO()
    spm.SentencePieceTrainer.Train(
        sentence_iterator=iter(lines()),
        model_writer=model,
        num_threads=1,
        minloglevel=2,
        hard_vocab_limit=False,
        **options,
    )
    return model.getvalue()


def sentencepiece_proto(model: bytes) -> Any:
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    return proto


def mark_unused(model: bytes, every: int) -> bytes:
    """Marks some merged pieces as unused: they must fall apart again."""
    proto = sentencepiece_proto(model)
    merged = [p for p in proto.pieces if p.type == 1 and len(p.piece) > 2]
    for piece in merged[::every]:
        piece.type = 5
    return proto.SerializeToString()


def sentencepiece_models() -> dict[str, bytes]:
    identity = {"normalization_rule_name": "identity"}
    rules = {"normalization_rule_tsv": rules_file()}
    bytes_options = {"byte_fallback": True, "character_coverage": 0.98, "remove_extra_whitespaces": False, **identity}
    user = ["<|im_start|>", "added_token", "12", "▁▁"]
    plain = train_sentencepiece(vocab_size=600, model_type="bpe", **identity)
    return {
        "sp_llama": train_sentencepiece(
            vocab_size=900, model_type="bpe", split_digits=True, allow_whitespace_only_pieces=True, **bytes_options
        ),
        "sp_bpe_user": train_sentencepiece(
            vocab_size=700, model_type="bpe", user_defined_symbols=user, control_symbols=["<bos>"], **rules
        ),
        "sp_bpe_suffix": train_sentencepiece(
            vocab_size=600, model_type="bpe", treat_whitespace_as_suffix=True, **identity
        ),
        "sp_bpe_unused": mark_unused(plain, 5),
        "sp_unigram": train_sentencepiece(
            vocab_size=600,
            model_type="unigram",
            user_defined_symbols=["added_token", "<mask>"],
            character_coverage=0.98,
            **rules,
        ),
        "sp_unigram_bytes": train_sentencepiece(
            vocab_size=800, model_type="unigram", add_dummy_prefix=False, **bytes_options
        ),
    }


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


def random_ids(known: list[int], encoded: list[list[int]]) -> list[list[int]]:
    """Sequences of random ids, and encodings cut and joined at random places."""
    rng = random.Random(7)
    out = [[rng.choice(known) for _ in range(rng.randrange(1, 30))] for _ in range(25)]
    for _ in range(15):
        a, b = rng.choice(encoded), rng.choice(encoded)
        out.append(a[rng.randrange(len(a) + 1) :] + b[: rng.randrange(len(b) + 1)])
    return out


def hugging_face_goldens(t: Tokenizer, decode_any: bool = True) -> Config:
    plain = [t.encode(x, add_special_tokens=False).ids for x in DECODED_TEXTS]
    decoded = plain + (random_ids(list(range(t.get_vocab_size())), plain) if decode_any else [])
    unparsed = Tokenizer.from_str(t.to_str())
    unparsed.encode_special_tokens = True
    raw = [unparsed.encode(x, add_special_tokens=False).ids for x in DECODED_TEXTS]
    return {
        "encode": plain,
        "encode_special": t.encode("Hello world").ids,
        "encode_unparsed": {str(i): ids for i, ids in enumerate(raw) if ids != plain[i]},
        "decode": [
            {"ids": ids, "kept": t.decode(ids, skip_special_tokens=False), "skipped": t.decode(ids)}
            for ids in decoded
            if ids
        ],
    }


def sentencepiece_goldens(model: bytes) -> Config:
    p = spm.SentencePieceProcessor(model_proto=model)
    plain = [p.EncodeAsIds(x) for x in DECODED_TEXTS]
    known = [i for i in range(p.GetPieceSize()) if not p.IsUnknown(i) and not p.IsControl(i)]
    decoded = [ids for ids in plain + random_ids(known, plain) if ids and not any(map(p.IsUnknown, ids))]
    encoded = {str(i): ids for i, ids in enumerate(plain)}
    return {"encode_unparsed": encoded, "decode": [{"ids": ids, "skipped": p.DecodeIds(ids)} for ids in decoded]}


SPLIT_PATTERNS = [
    GPT2, LLAMA3, QWEN2, BAILING, TEKKEN, O200K, *DEEPSEEK_LLM, *DEEPSEEK_V3, r"\w+|[^\w\s]+", r"\s+", r"\S+",
    r"[\s\d]+", r"[^\S\n]+", r"[\W\d]+", r"\h+", r"\H+", r"\p{Han}+", r"\p{^Han}+", r"[\p{L}&&[^\p{Han}]]+",
    r"[^a-z&&[^0-9]]+", r"[a-c[x-z]0]+", r"a{,2}", r"\p{N}{1,3}+", r"\p{N}{2}?", r"o*", r"(?m:a.b)", r"^.|.$",
    r"(?i:straße)", r"[[:alpha:]]+", r"[[:^alpha:]]+", r"\u4f60|\x{597d}", r"(?<=\d)(?=(?:\d{3})+\b)", r"\b\w",
    r"(\w)\1", r"\p{Greek}+|\p{Cyrillic}+|\p{Hiragana}", r"(?>a+)b|(?:ab)++", r"[\]\[\-^]",
    r"\p{Alphabetic}\p{M}*", r"x{", r"[^\p{L}\p{N}\s]{2,}",
]  # fmt: skip
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
PRE_TOKENIZERS: list[Config] = [
    *(split_at(s, b, i) for s in (" ", "ab") for b in BEHAVIORS for i in (False, True)),
    *(split(r"\s+", b, True) for b in BEHAVIORS),
    *(metaspace(s, c) for s in ("always", "first", "never") for c in (True, False)),
    {"type": "Whitespace"},
    {"type": "WhitespaceSplit"},
    {"type": "BertPreTokenizer"},
    digits(True),
    digits(False),
    *({"type": "Punctuation", "behavior": b} for b in BEHAVIORS),
    {"type": "CharDelimiterSplit", "delimiter": "e"},
    BYTE_LEVEL,
    {**BYTE_LEVEL, "add_prefix_space": True},
    BYTES_ONLY,
    steps({"type": "WhitespaceSplit"}, metaspace("first", True)),
    steps(digits(True), BYTE_LEVEL),
]
NORMALIZERS: list[Config] = [
    *({"type": n} for n in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel")),
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "Strip", "strip_left": True, "strip_right": False},
    {"type": "Strip", "strip_left": False, "strip_right": True},
    {"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    {"type": "Replace", "pattern": {"Regex": r"\s{2,}|\d"}, "content": "#"},
    {"type": "Replace", "pattern": {"String": "ab"}, "content": ""},
    *(
        {"type": "BertNormalizer", "clean_text": c, "handle_chinese_chars": h, "strip_accents": a, "lowercase": x}
        for c, h, a, x in ((True, True, None, True), (True, False, True, False), (False, True, False, False))
    ),
    {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]},
]
FUSE: Config = {"type": "Fuse"}
DECODERS: list[Config | None] = [
    BYTE_DECODER,
    LLAMA_DECODER,
    {"type": "ByteFallback"},
    FUSE,
    {"type": "Strip", "content": "H", "start": 1, "stop": 0},
    {"type": "Strip", "content": " ", "start": 2, "stop": 1},
    {"type": "Sequence", "decoders": [FUSE, {"type": "Strip", "content": " ", "start": 2, "stop": 2}]},
    {"type": "Sequence", "decoders": [FUSE, {"type": "Replace", "pattern": {"String": "lo w"}, "content": "#"}]},
    {"type": "Replace", "pattern": {"Regex": "l+|▁"}, "content": "_"},
    *(metaspace(s, True) for s in ("always", "first", "never")),
    {"type": "WordPiece", "prefix": "##", "cleanup": True},
    {"type": "WordPiece", "prefix": "@@", "cleanup": False},
    {"type": "BPEDecoder", "suffix": "</w>"},
    None,
]
TOKEN_LISTS = [
    ["▁Hel", "lo", "▁world"], ["▁▁▁Hel", "lo w", "orld▁"],
    ["Hello", "##wor", "ld", ".", "##!", "n't", "'s", "do not"],
    ["ĠHello", "Ġwor", "ld", "ðŁĺ", "Ģ", "ðŁ", "xy", "é", "日"],
    ["<0xE4>", "<0xBD>", "<0xA0>", "ab", "<0xE4>", "<0xBD>", "bc", "<0xff>"],
    ["<0xF0>", "<0x9F>", "<0x98>", "<0x80>", "<0x41>"], ["  a  ", "  b  ", "  c  "], ["low</w>", "er</w>", "xy"],
    ["HHey", "my", "HHx"], ["▁a", "▁b", "ab", "▁c"], ["  ab", "c  "], ["hello w", "orld lo", " w"],
    ["<0xE2>", "<0x96>", "<0x81>", "▁xy"],
]  # fmt: skip


def some_texts(k: int) -> list[int]:
    """Indices of the texts that configuration `k` is tried on: all short ones in turn."""
    return [i for i, b in enumerate(TEXTS) if len(b) <= 100][k % 3 :: 3]


def split_goldens(configs: list[Config], lengths: bool) -> list[Config]:
    out = []
    for k, config in enumerate(configs):
        pre = shell(pre_tokenizer=config).pre_tokenizer
        pieces = {str(i): [x for x, _ in pre.pre_tokenize_str(DECODED_TEXTS[i])] for i in some_texts(k)}
        key = "lengths" if lengths else "pieces"
        value = {i: [len(x.encode()) for x in p] for i, p in pieces.items()} if lengths else pieces
        out.append({"config": config, key: value})
    return out


def normalize_goldens() -> list[Config]:
    out = []
    for config in NORMALIZERS:
        normalizer = shell(normalizer=config).normalizer
        texts = {str(i): normalizer.normalize_str(x) for i, x in enumerate(DECODED_TEXTS) if len(TEXTS[i]) <= 100}
        out.append({"config": config, "texts": {i: x for i, x in texts.items() if x != DECODED_TEXTS[int(i)]}})
    return out


def decode_goldens() -> Config:
    # A word-level model exposes the decoders.
    names = sorted({t for tokens in TOKEN_LISTS for t in tokens})
    model = {"type": "WordLevel", "vocab": {t: i for i, t in enumerate(names)}, "unk_token": "xy"}

    def decode_all(config: Config | None) -> list[str]:
        t = shell(decoder=config, model=model)
        return [t.decode([model["vocab"][x] for x in tokens]) for tokens in TOKEN_LISTS]

    return {"tokens": TOKEN_LISTS, "decoders": [{"config": c, "texts": decode_all(c)} for c in DECODERS]}


def write_opt() -> None:
    """A folder in GPT-2's old layout, as OPT is published."""
    gpt2 = json.loads((OUT / "gpt2" / "tokenizer.json").read_text())["model"]
    write(OUT / "opt" / "vocab.json", {**gpt2["vocab"], "</s>": len(gpt2["vocab"])})
    merges = "".join(f"{a} {b}\n" for a, b in gpt2["merges"])
    (OUT / "opt" / "merges.txt").write_text("#version: 0.2\n" + merges)
    config = {"add_bos_token": True, "bos_token": "</s>", "eos_token": "</s>", "unk_token": {"content": "</s>"}}
    write(OUT / "opt" / "tokenizer_config.json", {**config, "chat_template": "{{ messages }}"})


def prefix_space_folders() -> None:
    """tokenizer.model with the flags of tokenizer_config.json that say where the prefix space goes."""
    from transformers import AutoTokenizer

    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}
    for name, flags in {
        "sp_not_legacy": {"legacy": False},
        "sp_no_prefix": {"legacy": False, "add_prefix_space": False},
    }.items():
        folder = OUT / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.model").write_bytes((OUT / "sp_llama" / "tokenizer.model").read_bytes())
        write(folder / "tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer", **names, **flags})
        t = AutoTokenizer.from_pretrained(folder)
        # Bytes that are no text come out as SentencePiece writes them, not as `tokenizers` does.
        write(folder / "goldens.json", hugging_face_goldens(t.backend_tokenizer, decode_any=False))


def main() -> None:
    write(OUT / "texts.json", [b.hex() for b in TEXTS])
    write(OUT / "expressions.json", split_goldens([split(p) for p in SPLIT_PATTERNS], lengths=True))
    write(OUT / "pre_tokenizers.json", split_goldens(PRE_TOKENIZERS, lengths=False))
    write(OUT / "normalizers.json", normalize_goldens())
    write(OUT / "decoders.json", decode_goldens())
    for name, config in {**character_families(), **byte_level_families(), **other_families()}.items():
        write(OUT / name / "tokenizer.json", config)
        write(OUT / name / "goldens.json", hugging_face_goldens(Tokenizer.from_str(json.dumps(config))))
    for name, model in sentencepiece_models().items():
        (OUT / name).mkdir(parents=True, exist_ok=True)
        (OUT / name / "tokenizer.model").write_bytes(model)
        write(OUT / name / "goldens.json", sentencepiece_goldens(model))
    prefix_space_folders()
    write_opt()


if __name__ == "__main__":
    main()
