"""Writes vectors.txt: multihashes of content as implementations that share no code with ours make them.

    pip install pycryptodome blake3 && python3 make_vectors.py > vectors.txt

SHA-1, SHA-2, SHA-3, SHAKE and BLAKE2 are those of CPython's hashlib (OpenSSL, and the reference code of BLAKE2), Keccak is
that of PyCryptodome, BLAKE3 that of its authors.
"""

import hashlib

from blake3 import blake3
from Crypto.Hash import keccak


def fixed(name):
    return lambda content: hashlib.new(name, content).digest()


def legacy_keccak(bits):
    return lambda content: keccak.new(digest_bits=bits, data=content).digest()


def blake2(function, size):
    return lambda content: function(content, digest_size=size).digest()


FUNCTIONS = [
    ("sha1", 0x11, fixed("sha1")),
    ("sha2-256", 0x12, fixed("sha256")),
    ("sha2-512", 0x13, fixed("sha512")),
    ("sha3-512", 0x14, fixed("sha3_512")),
    ("sha3-384", 0x15, fixed("sha3_384")),
    ("sha3-256", 0x16, fixed("sha3_256")),
    ("sha3-224", 0x17, fixed("sha3_224")),
    ("shake-256", 0x19, lambda content: hashlib.shake_256(content).digest(64)),
    ("keccak-224", 0x1A, legacy_keccak(224)),
    ("keccak-256", 0x1B, legacy_keccak(256)),
    ("keccak-384", 0x1C, legacy_keccak(384)),
    ("keccak-512", 0x1D, legacy_keccak(512)),
    ("blake3", 0x1E, lambda content: blake3(content).digest(length=64)),
    ("dbl-sha2-256", 0x56, lambda content: hashlib.sha256(hashlib.sha256(content).digest()).digest()),
]
FUNCTIONS += [(f"blake2b-{8 * size}", 0xB200 + size, blake2(hashlib.blake2b, size)) for size in range(20, 65)]
FUNCTIONS += [(f"blake2s-{8 * size}", 0xB240 + size, blake2(hashlib.blake2s, size)) for size in range(20, 33)]

# What a function is mostly used with, where that is not all that it makes.
USUAL = {"shake-256": 32, "blake3": 32}


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def main():
    print("# Made by make_vectors.py. Function, length of the content, multihash in hexadecimal.")
    print("# Byte i of the content is i modulo 251.")
    for name, code, digest_of in FUNCTIONS:
        lengths = [300] if name.startswith("blake2") and int(name[8:]) % 32 else [0, 300, 5000]
        for length in lengths:
            digest = digest_of(bytes(i % 251 for i in range(length)))
            cuts = {len(digest)}
            if length == 300:
                cuts |= {20, USUAL.get(name, len(digest))}
            for cut in sorted(cuts):
                multihash = varint(code) + varint(cut) + digest[:cut]
                print(name, length, multihash.hex())


main()
