#!/usr/bin/env bash
# From a checkout to a running kes server on the filesystem store, ready for MinIO. Needs rustup alone.
#
#   examples/quick-start.sh [FOLDER]        default folder: ./kes-quick-start; address: KES_ADDRESS, default 127.0.0.1:7373
#
# The first run makes a server certificate, two identities and a configuration file in the folder; the next ones find
# them and go on. The server runs in the foreground until Ctrl-C.
set -euo pipefail
umask 077
cd "$(dirname "$(readlink -f "$0")")/.."
FOLDER=${1:-kes-quick-start}
ADDRESS=${KES_ADDRESS:-127.0.0.1:7373}

echo "Building kes-server and kes (the first time takes a few minutes) ..." >&2
cargo build --quiet --release --package kes-server --package kes-cli
BIN=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release

mkdir -p "$FOLDER"
FOLDER=$(readlink -f "$FOLDER")
cd "$FOLDER"
if [ ! -e config.yml ]; then
  "$BIN/kes" identity new --force --key server.key --cert server.crt --ip 127.0.0.1 --dns localhost --expiry 8760h localhost >/dev/null
  "$BIN/kes" identity >admin.api-key
  "$BIN/kes" identity >minio.api-key
  cat >config.yml <<YAML
address: $ADDRESS

admin:
  identity: $("$BIN/kes" identity of "$(cat admin.api-key)") # its API key: admin.api-key

tls:
  key: $FOLDER/server.key
  cert: $FOLDER/server.crt

policy:
  minio: # what MinIO needs, and nothing more
    allow:
    - /v1/key/create/*
    - /v1/key/generate/*
    - /v1/key/decrypt/*
    - /v1/key/describe/*
    - /v1/key/list/*
    - /v1/key/hmac/*
    - /v1/status
    - /v1/metrics
    - /v1/api
    identities:
    - $("$BIN/kes" identity of "$(cat minio.api-key)") # its API key: minio.api-key

keystore:
  fs:
    path: $FOLDER/keys
YAML
fi

cat >&2 <<TEXT

Keys are stored in $FOLDER/keys: whoever can read that folder has the keys. Back it up.

Next, in another terminal, use it:

    export KES_SERVER=https://$ADDRESS KES_API_KEY=\$(cat $FOLDER/admin.api-key) SSL_CERT_FILE=$FOLDER/server.crt
    $BIN/kes key create my-key
    $BIN/kes key dek my-key

or let MinIO seal its objects with it:

    export MINIO_KMS_KES_ENDPOINT=https://$ADDRESS MINIO_KMS_KES_KEY_NAME=minio-key
    export MINIO_KMS_KES_API_KEY=\$(cat $FOLDER/minio.api-key) MINIO_KMS_KES_CAPATH=$FOLDER/server.crt
    minio server DATA-FOLDER

TEXT
exec "$BIN/kes-server" --config config.yml
