#!/usr/bin/env python3
"""Prints one key of a sealed directory: open-sealed-store.py DIRECTORY NAME passphrase|key|recovery < SECRET"""
import base64, hashlib, hmac, json, sys
from pathlib import Path
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

folder, name, kind, secret = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.stdin.buffer.read().strip()
b64, mac = base64.b64decode, lambda key, purpose, message: hmac.digest(key, purpose + b"\0" + message, "sha256")
unbox = lambda key, purpose, box, data: AESGCM(mac(key, purpose, box[:32])).decrypt(bytes(12), box[32:], data)

def slot_key(slot):
    if kind == "passphrase":
        a = slot["argon2id"]
        return Argon2id(salt=b64(a["salt"]), length=32, iterations=a["passes"], lanes=a["lanes"], memory_cost=a["memory_kib"]).derive(secret)
    if kind == "recovery":  # 40 digits of base32: 20 bytes of key, 5 of a checksum
        digits = map("0123456789ABCDEFGHJKMNPQRSTVWXYZ".index, reversed(secret.decode().replace("-", "")))
        return hashlib.sha256(b"kes-seal recovery\0" + sum(d << 5 * i for i, d in enumerate(digits)).to_bytes(25, "big")[:20]).digest()
    return b64(secret)
checksum, tag, text = (folder / "-kes-seal").read_bytes().removeprefix(b"kes-seal:1:").split(b":", 2)
assert b64(checksum) == hashlib.sha256(tag + b":" + text).digest(), "the slot table is damaged"
table = json.loads(text)
slot = next(slot for slot in table["slots"] if slot["kind"] == kind)  # of several, try each
root = unbox(slot_key(slot), b"kes-seal slot", b64(slot["wrapped"]), f"kes-seal:{table['store']}:{table['root']}:{kind}".encode())
assert mac(root, b"kes-seal table", text) == b64(tag), "somebody without a key has changed the slot table"
entry = b64((folder / name).read_bytes().removeprefix(b"kes-sealed:1:"))
header = entry[: 33 + entry[32]]  # root id (16), store id (16), length of the name (1), name
assert header[:16].hex() == table["root"] and header[16:32].hex() == table["store"] and header[33:] == name.encode(), "another's entry"
sys.stdout.buffer.write(unbox(root, b"kes-seal entry", entry[len(header) :], b"kes-sealed:1:" + header))
