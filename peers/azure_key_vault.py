#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A strict stand-in for Azure Key Vault (secrets, and keys that wrap); azure_login.py is the login that goes with it.

usage: azure_key_vault.py --dir DIR [options]      (--help)
"""
from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Callable, Iterable
from urllib.parse import quote, urlencode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, keywrap
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from azure_login import DEFAULT_CLIENTS, LOCAL_SUFFIX, PUBLIC_RESOURCE, Client, Directory
from standin import (Call, Listener, Problem, Reply, Request, Service, b64url, block_signals, from_b64url, integer, make_tls,
                     serve, write)

API_VERSIONS = ("2016-10-01", "7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01", "2026-04-01")
NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
MAX_VALUE = 25 * 1024
MAX_PAGE = 25
HELP = "For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid="

RSA_PADDING: dict[str, padding.AsymmetricPadding] = {
    "RSA1_5": padding.PKCS1v15(),
    "RSA-OAEP": padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None),
    "RSA-OAEP-256": padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
}
AES_BITS = {"A128KW": 128, "A192KW": 192, "A256KW": 256, "A128GCM": 128, "A192GCM": 192, "A256GCM": 256}
KEY_OPERATIONS = {"RSA": ["encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"],
                  "oct": ["encrypt", "decrypt", "wrapKey", "unwrapKey"]}


# --- what is stored ---------------------------------------------------------------------------------------------------

@dataclass
class Settings:
    """What a test may change while the server runs (control `settings`)."""
    delete_seconds: float = 0.2         # how long a delete, purge or recover goes on after it was answered
    purge_seconds: float = 0.2
    recover_seconds: float = 0.2
    retention_days: int = 90
    purge_protection: bool = False
    token_seconds: int = 3600


@dataclass
class Version:
    id: str
    created: int
    updated: int
    content: dict[str, Any]             # secrets: value, contentType; keys: kty, key_ops, material
    enabled: bool = True
    nbf: int | None = None
    exp: int | None = None
    tags: dict[str, str] | None = None


@dataclass
class Item:
    """A secret or key with its versions, oldest first. `settled` is when the last change of state is over."""
    name: str
    versions: list[Version] = field(default_factory=list)
    state: str = "live"                 # live, deleted, purged
    settled: float = 0.0
    deleted_at: int = 0

    @property
    def busy(self) -> bool:
        return time.monotonic() < self.settled

    def become(self, state: str, seconds: float) -> None:
        self.state, self.settled = state, time.monotonic() + seconds


@dataclass
class Vault:
    name: str
    secrets: dict[str, Item] = field(default_factory=dict)      # by lower-case name
    keys: dict[str, Item] = field(default_factory=dict)

    def items(self, kind: str) -> dict[str, Item]:
        return self.secrets if kind == "secrets" else self.keys


# --- error bodies -----------------------------------------------------------------------------------------------------

def refusal(status: int, code: str, message: str, inner: str | None = None, **headers: str) -> Reply:
    error: dict[str, Any] = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    return Reply(status, {"error": error}, {name.replace("_", "-"): value for name, value in headers.items()})


def bad(message: str) -> Problem:
    return Problem(refusal(400, "BadParameter", message))


def conflict(message: str, inner: str) -> Problem:
    return Problem(refusal(409, "Conflict", message, inner))


def forbidden(message: str, inner: str) -> Problem:
    return Problem(refusal(403, "Forbidden", message, inner))


def noun(kind: str) -> str:
    return "Secret" if kind == "secrets" else "Key"


def not_found(kind: str, name: str) -> Problem:
    return Problem(refusal(404, noun(kind) + "NotFound", f"A {noun(kind).lower()} with (name/id) {name} was not found in this "
                           "key vault. If you recently deleted this " + noun(kind).lower() + " you may be able to recover it "
                           f"using the correct recovery command. {HELP}2125182"))


# --- the service ------------------------------------------------------------------------------------------------------

class KeyVault(Service):
    def __init__(self, directory: Directory, settings: Settings, vaults: dict[int, Vault]) -> None:
        super().__init__()
        self.directory, self.settings, self.vaults = directory, settings, vaults
        directory.now = self.now

    def reset(self) -> None:
        for vault in self.vaults.values():
            vault.secrets, vault.keys = {}, {}

    def revoke_tokens(self) -> None:
        self.directory.live_tokens.clear()

    def control(self, method: str, name: str, body: dict[str, Any]) -> Any:
        match method, name:
            case "GET", "settings":
                return asdict(self.settings)
            case "POST", "settings":
                unknown = set(body) - {f.name for f in fields(Settings)}
                if unknown:
                    raise ValueError(f"no such setting: {', '.join(unknown)}")
                self.settings = Settings(**{**asdict(self.settings), **body})
                self.directory.token_seconds = self.settings.token_seconds
            case "POST", "permissions":
                allowed = body["allow"]
                self.directory.clients[body["client"]].allowed = None if allowed is None else set(allowed)
            case "POST", "federated-token":
                return {"token": self.directory.federated_token(**body)}
            case _:
                raise LookupError(f"no control {method} {name}")
        return None

    def failure(self, operation: str, status: int, retry_after: float | None) -> Reply:
        if operation.startswith("token."):
            return self.directory.refusal(status, "temporarily_unavailable", 90033, "A transient error has occurred. Please try again.")
        if status == 429:
            reason = "VaultRequestTypeLimitReached"
            return refusal(429, "Throttled", "Request was not processed because too many requests were received. "
                           f"Reason: {reason}", reason, Retry_After=f"{1 if retry_after is None else retry_after:g}")
        code = {500: "InternalServerError", 503: "ServiceUnavailable", 403: "Forbidden", 401: "Unauthorized"}.get(status, "Failed")
        headers = {} if retry_after is None else {"Retry_After": f"{retry_after:g}"}
        return refusal(status, code, "The service failed on request of the test.", None, **headers)

    # routing

    def route(self, request: Request) -> Call:
        call = self.directory.route(request)
        if call:
            return call
        if request.plain:
            raise Problem(Reply(404))
        vault = self.vault(request)
        client = self.authenticate(request)
        operation, permission, writes, run = self.vault_call(request, vault)

        def checked() -> Reply:
            self.check_version(request)
            self.check_permission(client, permission, vault)
            return run()
        return Call(operation, checked, writes=writes, data=True)

    def vault_call(self, request: Request, vault: Vault) -> tuple[str, str, bool, Callable[[], Reply]]:
        """Operation, permission, whether it writes, and what it does."""
        where, *rest = request.segments or ("",)
        kind = where.removeprefix("deleted")
        if kind not in ("secrets", "keys"):
            raise Problem(Reply(404))
        if where != kind:
            match request.method, *rest:
                case ("GET",):
                    return f"{where}.list", f"{kind}/list", False, lambda: self.list_items(request, vault, kind, "deleted")
                case "GET", name:
                    return f"{where}.get", f"{kind}/get", False, lambda: self.get_deleted(request, vault, kind, name)
                case "DELETE", name:
                    return f"{where}.purge", f"{kind}/purge", True, lambda: self.purge(vault, kind, name)
                case "POST", name, "recover":
                    return f"{where}.recover", f"{kind}/recover", True, lambda: self.recover(request, vault, kind, name)
            raise Problem(Reply(404))
        match request.method, kind, *rest:
            case "PUT", "secrets", name:
                return "secrets.set", "secrets/set", True, lambda: self.set_secret(request, vault, name)
            case "POST", "secrets", "restore":
                return "secrets.restore", "secrets/restore", True, lambda: self.restore(request, vault)
            case "POST", "secrets", name, "backup":
                return "secrets.backup", "secrets/backup", False, lambda: self.backup(vault, name)
            case "POST", "keys", name, "create":
                return "keys.create", "keys/create", True, lambda: self.create_key(request, vault, name)
            case "POST", "keys", name, version, ("wrapkey" | "unwrapkey" | "encrypt" | "decrypt") as route:
                verb = route.replace("key", "Key")
                return f"keys.{verb}", f"keys/{verb}", False, lambda: self.use_key(request, vault, name, version, verb)
            case "GET", _:
                return f"{kind}.list", f"{kind}/list", False, lambda: self.list_items(request, vault, kind, "live")
            case "GET", _, name, "versions":
                return f"{kind}.versions", f"{kind}/list", False, lambda: self.list_versions(request, vault, kind, name)
            case "GET", _, name, *version if len(version) < 2:
                return f"{kind}.get", f"{kind}/get", False, lambda: self.get(request, vault, kind, name, *version)
            case "PATCH", _, name, *version if len(version) < 2:
                permission = "secrets/set" if kind == "secrets" else "keys/update"
                return f"{kind}.update", permission, True, lambda: self.update(request, vault, kind, name, *version)
            case "DELETE", _, name:
                return f"{kind}.delete", f"{kind}/delete", True, lambda: self.delete(request, vault, kind, name)
        raise Problem(Reply(404))

    def vault(self, request: Request) -> Vault:
        """By name for NAME.vault.azure.localhost, else by port."""
        if not request.host.endswith(LOCAL_SUFFIX):
            return self.vaults[request.port]
        for vault in self.vaults.values():
            if request.host == vault.name + LOCAL_SUFFIX:
                return vault
        raise Problem(Reply(404))

    def resource(self, request: Request) -> str:
        """The audience that the challenge names: the vault's domain, so that a client's check of the two passes."""
        if not request.host.endswith(LOCAL_SUFFIX):
            return PUBLIC_RESOURCE
        return "https://" + request.headers["Host"].partition(".")[2]

    def authenticate(self, request: Request) -> Client:
        resource = self.resource(request)
        try:
            return self.directory.client_of(request.bearer(), resource)
        except ValueError as error:
            challenge = f'Bearer authorization="{self.directory.base}", resource="{resource}"'
            raise Problem(refusal(401, "Unauthorized", str(error), WWW_Authenticate=challenge), "unauthenticated") from None

    def check_version(self, request: Request) -> None:
        version = request.query.get("api-version")
        if not version:
            raise bad("api-version must be specified")
        if version not in API_VERSIONS:
            raise bad(f"The specified version ({version}) is not recognized. Consider using the latest supported version "
                      f"({API_VERSIONS[-1]}).")

    def check_permission(self, client: Client, permission: str, vault: Vault) -> None:
        if client.allowed is None or permission in client.allowed:
            return
        kind, verb = permission.split("/")
        caller = f"appid={client.id};oid={client.object_id};iss={self.directory.issuer}"
        raise forbidden(f"The user, group or application '{caller}' does not have {kind} {verb} permission on key vault "
                        f"'{vault.name};location=local'. {HELP}2125287", "ForbiddenByPolicy")

    # items

    def find(self, vault: Vault, kind: str, name: str) -> Item | None:
        """The item in whatever state, once everything that was due has happened to it."""
        if not NAME.fullmatch(name):
            raise bad(f"The request URI contains an invalid name: {name}")
        items = vault.items(kind)
        item = items.get(name.lower())
        if item and not item.busy and (item.state == "purged" or item.state == "deleted" and self.now() >= self.purge_date(item)):
            del items[name.lower()]
            return None
        return item

    def live(self, vault: Vault, kind: str, name: str) -> Item:
        item = self.find(vault, kind, name)
        if item is None or item.state != "live" or item.busy:
            raise not_found(kind, name)
        return item

    def deleted(self, vault: Vault, kind: str, name: str) -> Item:
        item = self.find(vault, kind, name)
        if item is None or item.state != "deleted" or item.busy:
            raise Problem(refusal(404, noun(kind) + "NotFound", f"Deleted {noun(kind)} not found: {name}"))
        return item

    def version(self, item: Item, kind: str, identifier: str | None) -> Version:
        if not identifier:
            return item.versions[-1]
        for version in item.versions:
            if version.id == identifier:
                return version
        raise not_found(kind, f"{item.name}/{identifier}")

    def writable(self, vault: Vault, kind: str, name: str) -> Item:
        """The item that takes a new version; made when the name is free."""
        item = self.find(vault, kind, name)
        if item is None:
            return vault.items(kind).setdefault(name.lower(), Item(name))
        self.refuse_while_deleting(kind, item)
        if item.state == "deleted":
            raise conflict(f"{noun(kind)} {name} is currently in a deleted but recoverable state, and its name cannot be reused; in "
                           "this state, the " + noun(kind).lower() + " can only be recovered or purged.", "ObjectIsDeletedButRecoverable")
        if item.busy:
            raise conflict(f"{noun(kind)} {name} is currently being recovered and cannot be re-created; retry later.",
                           "ObjectIsBeingRecovered")
        return item

    def refuse_while_deleting(self, kind: str, item: Item | None) -> None:
        if item and item.busy and item.state != "live":
            raise conflict(f"{noun(kind)} {item.name} is currently being deleted.", "ObjectIsBeingDeleted")

    def purge_date(self, item: Item) -> int:
        return item.deleted_at + self.settings.retention_days * 86400

    # what answers show

    def attributes(self, version: Version) -> dict[str, Any]:
        days = self.settings.retention_days
        level = ("" if days == 90 else "Customized") + "Recoverable" + ("" if self.settings.purge_protection else "+Purgeable")
        shown = {"enabled": version.enabled, "nbf": version.nbf, "exp": version.exp, "created": version.created,
                 "updated": version.updated, "recoveryLevel": level, "recoverableDays": days}
        return {name: value for name, value in shown.items() if value is not None}

    def summary(self, request: Request, kind: str, item: Item, version: Version, with_version: bool) -> dict[str, Any]:
        identifier = f"{request.origin}/{kind}/{item.name}" + (f"/{version.id}" if with_version else "")
        shown: dict[str, Any] = {"id" if kind == "secrets" else "kid": identifier, "attributes": self.attributes(version)}
        if version.content.get("contentType") is not None:
            shown["contentType"] = version.content["contentType"]
        if version.tags is not None:
            shown["tags"] = version.tags
        if item.state == "deleted":
            shown |= {"recoveryId": f"{request.origin}/deleted{kind}/{item.name}", "deletedDate": item.deleted_at,
                      "scheduledPurgeDate": self.purge_date(item)}
        return shown

    def bundle(self, request: Request, kind: str, item: Item, version: Version, with_value: bool = True) -> Reply:
        shown = self.summary(request, kind, item, version, with_version=True)
        if kind == "secrets":
            return Reply(200, {"value": version.content["value"], **shown} if with_value else shown)
        material, content = version.content["material"], version.content
        key = {"kid": shown.pop("kid"), "kty": content["kty"], "key_ops": content["key_ops"]}
        if isinstance(material, rsa.RSAPrivateKey):
            public = material.public_key().public_numbers()
            key |= {"n": integer(public.n), "e": integer(public.e)}
        return Reply(200, {"key": key, **shown})

    def page(self, request: Request, entries: Iterable[tuple[str, dict[str, Any]]]) -> Reply:
        """One page of (sort key, entry); the token carries the last key shown, so that changes in between do no harm."""
        limit = request.query.get("maxresults", str(MAX_PAGE))
        if not limit.isdecimal() or not 1 <= int(limit) <= MAX_PAGE:
            raise bad(f"maxresults must be between 1 and {MAX_PAGE}")
        try:
            after = from_b64url(request.query.get("$skiptoken", "")).decode()
        except ValueError:
            raise bad("The skiptoken is invalid.") from None
        left = sorted(entry for entry in entries if entry[0] > after)
        shown, link = left[:int(limit)], None
        if len(left) > len(shown):
            query = {**request.query, "$skiptoken": b64url(shown[-1][0].encode())}
            link = f"{request.origin}/{quote('/'.join(request.segments))}?{urlencode(query, safe='$')}"
        return Reply(200, {"value": [entry for _, entry in shown], "nextLink": link})

    # operations

    def body(self, request: Request, *members: str) -> dict[str, Any]:
        """The JSON body, with no member but these."""
        if request.headers.get_content_type() != "application/json":
            raise Problem(refusal(415, "UnsupportedMediaType", "The content type must be application/json."))
        try:
            body = request.json()
        except ValueError:
            raise bad("The request body is not valid JSON.") from None
        unknown = set(body) - set(members)
        if unknown:
            raise bad(f"Unknown property: {', '.join(sorted(unknown))}")
        return body

    def apply_attributes(self, version: Version, body: dict[str, Any]) -> None:
        attributes, tags = body.get("attributes") or {}, body.get("tags")
        for name, kind in (("enabled", bool), ("nbf", int), ("exp", int)):
            value = attributes.get(name) if isinstance(attributes, dict) else attributes
            if value is None:
                continue
            if type(value) is not kind:
                raise bad(f"Property {name} has invalid value")
            setattr(version, name, value)
        if tags is not None:
            if not isinstance(tags, dict) or len(tags) > 15 or not all(
                    isinstance(text, str) and max(len(name), len(text)) <= 512 for name, text in tags.items()):
                raise bad("tags: at most 15 of at most 512 characters each")
            version.tags = tags

    def new_version(self, content: dict[str, Any], body: dict[str, Any]) -> Version:
        now = int(self.now())
        version = Version(secrets.token_hex(16), now, now, content)
        self.apply_attributes(version, body)
        return version

    def set_secret(self, request: Request, vault: Vault, name: str) -> Reply:
        body = self.body(request, "value", "contentType", "attributes", "tags")
        value = body.get("value")
        if not isinstance(value, str):
            raise bad("Property value is required and must be a string.")
        if len(value.encode()) > MAX_VALUE:
            raise bad(f"The secret value has exceeded the maximum size of {MAX_VALUE} bytes.")
        version = self.new_version({"value": value, "contentType": body.get("contentType")}, body)
        item = self.writable(vault, "secrets", name)
        item.versions.append(version)
        return self.bundle(request, "secrets", item, version)

    def get(self, request: Request, vault: Vault, kind: str, name: str, identifier: str | None = None) -> Reply:
        item = self.live(vault, kind, name)
        version = self.version(item, kind, identifier)
        if kind == "secrets" and not version.enabled:
            raise forbidden("Operation get is not allowed on a disabled secret.", "SecretDisabled")
        return self.bundle(request, kind, item, version)

    def update(self, request: Request, vault: Vault, kind: str, name: str, identifier: str | None = None) -> Reply:
        body = self.body(request, "contentType", "attributes", "tags", "key_ops")
        item = self.live(vault, kind, name)
        version = self.version(item, kind, identifier)
        self.apply_attributes(version, body)
        version.content |= {member: body[member] for member in ("contentType", "key_ops") if body.get(member) is not None}
        version.updated = int(self.now())
        return self.bundle(request, kind, item, version, with_value=False)

    def list_items(self, request: Request, vault: Vault, kind: str, state: str) -> Reply:
        found = [item for name in list(vault.items(kind)) if (item := self.find(vault, kind, name))]
        return self.page(request, [(item.name.lower(), self.summary(request, kind, item, item.versions[-1], with_version=False))
                                   for item in found if item.state == state and not item.busy])

    def list_versions(self, request: Request, vault: Vault, kind: str, name: str) -> Reply:
        """In the order of the (random) version identifiers; none for a name that is not there."""
        item = self.find(vault, kind, name)
        if item is None or item.state != "live" or item.busy:
            return self.page(request, [])
        return self.page(request, [(v.id, self.summary(request, kind, item, v, with_version=True)) for v in item.versions])

    def delete(self, request: Request, vault: Vault, kind: str, name: str) -> Reply:
        self.refuse_while_deleting(kind, self.find(vault, kind, name))
        item = self.live(vault, kind, name)
        item.deleted_at = int(self.now())
        item.become("deleted", self.settings.delete_seconds)
        return self.bundle(request, kind, item, item.versions[-1], with_value=False)

    def get_deleted(self, request: Request, vault: Vault, kind: str, name: str) -> Reply:
        item = self.deleted(vault, kind, name)
        return self.bundle(request, kind, item, item.versions[-1], with_value=False)

    def purge(self, vault: Vault, kind: str, name: str) -> Reply:
        item = self.find(vault, kind, name)
        if item and item.state == "deleted":
            self.refuse_while_deleting(kind, item)
        item = self.deleted(vault, kind, name)
        if self.settings.purge_protection:
            raise forbidden('Operation "purge" is not allowed because purge protection is enabled for this vault. Key Vault service '
                            f"will automatically purge it after the retention period has passed.\r\nVault: {vault.name};location=local",
                            "ForbiddenByPolicy")
        item.become("purged", self.settings.purge_seconds)
        return Reply(204)

    def recover(self, request: Request, vault: Vault, kind: str, name: str) -> Reply:
        self.refuse_while_deleting(kind, self.find(vault, kind, name))
        item = self.deleted(vault, kind, name)
        item.become("live", self.settings.recover_seconds)
        return self.bundle(request, kind, item, item.versions[-1], with_value=False)

    def backup(self, vault: Vault, name: str) -> Reply:
        return Reply(200, {"value": b64url(json.dumps(asdict(self.live(vault, "secrets", name))).encode())})

    def restore(self, request: Request, vault: Vault) -> Reply:
        try:
            stored = json.loads(from_b64url(self.body(request, "value").get("value", "")))
            item = Item(stored["name"], [Version(**version) for version in stored["versions"]])
        except (ValueError, TypeError, KeyError):
            raise bad("The backup blob is malformed.") from None
        there = self.find(vault, "secrets", item.name)
        if there:
            self.writable(vault, "secrets", item.name)
            raise Problem(refusal(409, "Conflict", "There was a conflict while restoring the secret: it exists already."))
        vault.secrets[item.name.lower()] = item
        return self.bundle(request, "secrets", item, item.versions[-1], with_value=False)

    # keys

    def create_key(self, request: Request, vault: Vault, name: str) -> Reply:
        body = self.body(request, "kty", "key_size", "key_ops", "attributes", "tags", "public_exponent", "release_policy")
        kty, size = body.get("kty"), body.get("key_size")
        material: rsa.RSAPrivateKey | bytes
        if kty in ("RSA", "RSA-HSM") and size in (None, 2048, 3072, 4096):
            material = rsa.generate_private_key(public_exponent=65537, key_size=size or 2048)
        elif kty == "oct-HSM" and size in (None, 128, 192, 256):
            material = secrets.token_bytes((size or 256) // 8)
        else:
            raise bad(f"Unsupported key type or size: {kty} {size}")
        allowed = KEY_OPERATIONS[str(kty).partition("-")[0]]
        operations = body.get("key_ops") or allowed
        if set(operations) - set(allowed):
            raise bad("key_ops has an operation that the key type does not support.")
        version = self.new_version({"kty": kty, "key_ops": operations, "material": material}, body)
        item = self.writable(vault, "keys", name)
        item.versions.append(version)
        return self.bundle(request, "keys", item, version)

    def use_key(self, request: Request, vault: Vault, name: str, identifier: str, verb: str) -> Reply:
        body = self.body(request, "alg", "value", "iv", "aad", "tag")
        item = self.live(vault, "keys", name)
        version = self.version(item, "keys", identifier)
        opens = verb in ("unwrapKey", "decrypt")
        if not version.enabled:
            raise forbidden(f"Operation {verb} is not allowed on a disabled key.", "KeyDisabled")
        if verb not in version.content["key_ops"]:
            raise forbidden(f"Operation {verb} is not permitted on this key.", "KeyOperationForbidden")
        if not opens and version.exp is not None and self.now() >= version.exp:
            raise forbidden(f"Operation {verb} is not allowed on an expired key.", "KeyExpired")
        if not opens and version.nbf is not None and self.now() < version.nbf:
            raise forbidden(f"Operation {verb} is not allowed on a key that is not yet valid.", "KeyNotYetValid")
        try:
            parts = {member: from_b64url(body[member]) for member in ("value", "iv", "aad", "tag") if body.get(member)}
            result = self.transform(version.content["material"], body.get("alg", ""), opens, parts)
        except (ValueError, KeyError, InvalidTag, keywrap.InvalidUnwrap):
            raise bad("The parameter is incorrect.") from None
        return Reply(200, {"kid": f"{request.origin}/keys/{item.name}/{version.id}",
                           **{member: b64url(data) for member, data in result.items()}})

    def transform(self, material: Any, algorithm: str, opens: bool, parts: dict[str, bytes]) -> dict[str, bytes]:
        """Encrypt or open `value`; what the cryptography library finds wrong with the parts it raises."""
        value = parts["value"]
        if isinstance(material, rsa.RSAPrivateKey):
            scheme = RSA_PADDING[algorithm]
            return {"value": material.decrypt(value, scheme) if opens else material.public_key().encrypt(value, scheme)}
        if AES_BITS[algorithm] != len(material) * 8:
            raise ValueError("the algorithm is for another key size")
        if algorithm.endswith("KW"):
            return {"value": keywrap.aes_key_unwrap(material, value) if opens else keywrap.aes_key_wrap(material, value)}
        if opens:
            return {"value": AESGCM(material).decrypt(parts["iv"], value + parts["tag"], parts.get("aad"))}
        nonce = os.urandom(12)
        sealed = AESGCM(material).encrypt(nonce, value, parts.get("aad"))
        return {"value": sealed[:-16], "iv": nonce, "tag": sealed[-16:]} | ({"aad": parts["aad"]} if "aad" in parts else {})


# --- start ------------------------------------------------------------------------------------------------------------

def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="stand-in for Azure Key Vault", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    repeated: dict[str, Any] = {"action": "append", "default": []}
    parser.add_argument("--dir", type=Path, required=True, help="gets ca.pem, endpoints.json and federated-token")
    parser.add_argument("--vault", **repeated, metavar="NAME[=PORT]", help="a vault on a port of its own (default: kes on a free port)")
    parser.add_argument("--admin-port", type=int, default=0, help="plain HTTP: controls, IMDS, App Service")
    parser.add_argument("--tenant", default="99999999-9999-4999-8999-999999999999")
    parser.add_argument("--client", **repeated, metavar="ID=SECRET", help="a client with a secret")
    parser.add_argument("--workload", **repeated, metavar="ID=SUBJECT", help="a client with a federated credential")
    parser.add_argument("--managed", **repeated, metavar="ID", help="a managed identity; the first is also the machine's own")
    parser.add_argument("--allow", **repeated, metavar="ID=PERMISSION,…", help="all that a client may do, as secrets/get or keys/wrapKey")
    for setting in fields(Settings):
        flag = "--" + setting.name.replace("_", "-")
        if isinstance(setting.default, bool):
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=type(setting.default), default=setting.default)
    parsed = parser.parse_args()
    made = [*(Client(name, secret=secret) for name, _, secret in (text.partition("=") for text in parsed.client)),
            *(Client(name, subject=subject) for name, _, subject in (text.partition("=") for text in parsed.workload)),
            *(Client(name, managed=True) for name in parsed.managed)]
    parsed.clients = {client.id: client for client in made or DEFAULT_CLIENTS}
    for text in parsed.allow:
        name, _, permissions = text.partition("=")
        if name not in parsed.clients:
            parser.error(f"--allow names no client: {name}")
        parsed.clients[name].allowed = {permission for permission in permissions.split(",") if permission}
    if not 7 <= parsed.retention_days <= 90:
        parser.error("--retention-days is 7 to 90")
    parsed.settings = Settings(**{setting.name: getattr(parsed, setting.name) for setting in fields(Settings)})
    return parsed


def main() -> None:
    block_signals()
    parsed = options()
    folder: Path = parsed.dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    names = [text.partition("=") for text in parsed.vault or ["kes"]]
    tls = make_tls(folder, ["localhost", "*" + LOCAL_SUFFIX])
    listeners = {name: Listener(int(port or 0), tls=tls) for name, _, port in names}
    admin = Listener(parsed.admin_port, plain=True)
    directory = Directory(next(iter(listeners.values())).url, parsed.tenant, parsed.clients, parsed.token_seconds)
    service = KeyVault(directory, parsed.settings, {listener.server_port: Vault(name) for name, listener in listeners.items()})
    for client in parsed.clients.values():
        if client.subject:
            write(folder / "federated-token", directory.federated_token(client.subject))
            break
    serve(service, [*listeners.values(), admin], folder, {
        "vaults": {name: {"url": listener.url, "named": f"https://{name}{LOCAL_SUFFIX}:{listener.server_port}"}
                   for name, listener in listeners.items()},
        "authority": directory.authority, "tenant": parsed.tenant, "admin": admin.url, "ca": str(folder / "ca.pem"),
        "imds": admin.url, "identity_endpoint": admin.url + "/msi/token", "identity_header": directory.identity_header,
        "federated_token_file": str(folder / "federated-token"),
        "clients": [{"id": client.id, "object_id": client.object_id, "secret": client.secret, "subject": client.subject,
                     "managed": client.managed} for client in parsed.clients.values()]})


if __name__ == "__main__":
    main()
