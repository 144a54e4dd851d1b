#!/bin/sh
# Makes the certificates in site/: one authority of its own, and what appliances show. Run it in this folder; it needs openssl 3.
set -eu
out=site
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
key=server.key

openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$work/authority.key"
openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$out/client.key"
openssl req -x509 -new -key "$work/authority.key" -subj "/CN=taskgate site authority" -days 36500 -out "$out/authority.pem" \
  -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign"

# issue NAME KEY SUBJECT EXTENSIONS
issue() {
  openssl req -new -key "$2" -subj "$3" -out "$work/request"
  printf '%b' "$4" > "$work/extensions"
  openssl x509 -req -in "$work/request" -CA "$out/authority.pem" -CAkey "$work/authority.key" -CAcreateserial -CAserial "$work/serial" \
    -days 36500 -extfile "$work/extensions" -out "$out/$1.pem"
}
issue appliance "$key" "/CN=appliance" "basicConstraints=CA:FALSE\nsubjectAltName=DNS:appliance.example\n"
issue cn_only "$key" "/CN=localhost" "basicConstraints=CA:FALSE\n"
issue client "$out/client.key" "/CN=taskgate" "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\nsubjectAltName=DNS:taskgate\n"

# Signed by its own key: a server's, an authority's, and one of X.509 version 1 (made without extensions).
openssl req -x509 -new -key "$key" -subj "/CN=localhost" -days 36500 -out "$out/self_signed.pem" \
  -addext "basicConstraints=critical,CA:FALSE" -addext "subjectAltName=DNS:localhost"
openssl req -x509 -new -key "$key" -subj "/CN=localhost" -days 36500 -out "$out/self_signed_authority.pem" \
  -addext "basicConstraints=critical,CA:TRUE" -addext "subjectAltName=DNS:localhost"
openssl req -new -key "$key" -subj "/CN=localhost" -out "$work/request"
openssl x509 -req -in "$work/request" -signkey "$key" -days 36500 -out "$out/version_1.pem"

# Not valid before 2100.
mkdir "$work/ca"; : > "$work/ca/index"; echo 01 > "$work/ca/serial"
printf '[ca]\ndefault_ca=x\n[x]\ndatabase=%s/ca/index\nserial=%s/ca/serial\nnew_certs_dir=%s/ca\npolicy=p\ndefault_md=sha256\nx509_extensions=e\n[p]\ncommonName=supplied\n[e]\nsubjectAltName=DNS:localhost\n' \
  "$work" "$work" "$work" > "$work/ca.conf"
openssl ca -batch -notext -config "$work/ca.conf" -cert "$out/authority.pem" -keyfile "$work/authority.key" -in "$work/request" \
  -startdate 21000101000000Z -enddate 21200101000000Z -out "$out/not_yet.pem"
openssl pkey -in "$key" -pubout -outform der | openssl dgst -sha256 -r | cut -d" " -f1 > "$out/server.pin"
