#!/bin/sh
# Makes the certificates and keys of this folder that the library itself cannot make, with OpenSSL 3. Valid for 50 years.
set -eu
cd "$(dirname "$0")"
days=18250
password=correct

# Key pairs of every kind.
openssl genpkey -algorithm ed25519 -out ed25519.key
openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -out p256.key
openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-384 -out p384.key
openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-521 -out p521.key
openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out rsa2048.key
openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:1024 -out rsa1024.key

# A CA, and for each key a certificate it signed (v3, clientAuth) and a self-signed one without any extension but CA:FALSE.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days $days -subj /CN=fixtures
for kind in ed25519 p256 p384 p521 rsa2048 rsa1024; do
    printf 'extendedKeyUsage=clientAuth\nbasicConstraints=CA:FALSE\n' > extensions.tmp
    openssl req -new -key $kind.key -subj /CN=$kind -out request.tmp
    openssl x509 -req -in request.tmp -CA ca.crt -CAkey ca.key -days $days -extfile extensions.tmp -out $kind.signed.crt
    openssl req -x509 -key $kind.key -subj /CN=$kind -days $days -addext basicConstraints=CA:FALSE -out $kind.crt
done

# X.509 v1, self-signed and CA-signed; v3 without basicConstraints; and what `openssl req -x509` makes when left alone: CA:TRUE.
openssl req -new -key p256.key -subj /CN=v1 -out request.tmp
openssl x509 -req -in request.tmp -key p256.key -days $days -out v1.crt
openssl x509 -req -in request.tmp -CA ca.crt -CAkey ca.key -days $days -out v1.signed.crt
openssl req -new -key ed25519.key -subj /CN=v1 -out request.tmp
openssl x509 -req -in request.tmp -key ed25519.key -days $days -out v1-ed25519.crt
openssl req -new -key rsa2048.key -subj /CN=v1 -out request.tmp
openssl x509 -req -in request.tmp -key rsa2048.key -days $days -out v1-rsa2048.crt
printf 'keyUsage=digitalSignature\n' > extensions.tmp
openssl req -new -key p256.key -subj /CN=plain -out request.tmp
openssl x509 -req -in request.tmp -key p256.key -days $days -extfile extensions.tmp -out no-constraints.crt
openssl req -x509 -key p256.key -subj /CN=careless -days $days -out careless.crt
printf 'extendedKeyUsage=anyExtendedKeyUsage\nbasicConstraints=CA:FALSE\n' > extensions.tmp
openssl x509 -req -in request.tmp -CA ca.crt -CAkey ca.key -days $days -extfile extensions.tmp -out any-usage.signed.crt

# A CA whose signatures are beyond ring.
openssl req -x509 -key p521.key -subj /CN=p521-ca -days $days -out p521-ca.crt
openssl x509 -req -in request.tmp -CA p521-ca.crt -CAkey p521.key -days $days -extfile extensions.tmp -out p521-ca.signed.crt

# The older forms of keys, plain and under a password.
openssl rsa -in rsa2048.key -traditional -out rsa2048.pkcs1.key
openssl ec -in p256.key -out p256.sec1.key
openssl ec -in p384.key -out p384.sec1.key
openssl ecparam -name prime256v1 -out parameters.tmp
cat parameters.tmp p256.sec1.key > p256.parameters.key
for cipher in aes128 aes192 aes256 des3 des; do
    provider=
    test $cipher = des && provider='-provider default -provider legacy'
    openssl rsa $provider -in rsa2048.key -traditional -$cipher -passout pass:$password -out rsa2048.$cipher.key
done
openssl ec -in p256.key -aes256 -passout pass:$password -out p256.aes256.key
openssl pkcs8 -topk8 -in ed25519.key -v2 aes-256-cbc -passout pass:$password -out ed25519.pbes2.key
openssl pkcs8 -topk8 -in p256.key -v2 aes-128-cbc -v2prf hmacWithSHA256 -passout pass:$password -out p256.pbes2.key
openssl pkcs8 -topk8 -in p256.key -scrypt -passout pass:$password -out p256.scrypt.key
openssl pkcs8 -topk8 -in p256.key -v1 PBE-SHA1-3DES -passout pass:$password -out p256.pbes1.key

rm -f ./*.tmp
