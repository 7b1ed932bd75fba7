#!/bin/sh
# Makes the secrets of docker-compose.yml, once: passwords, keys, and the configuration that refers to them. They lie in
# deploy/compose/secrets, which git ignores. The folder is closed to other users; the files in it are not, because the
# containers read them under a user of their own.
set -eu
cd "$(dirname "$0")"
if [ -e secrets/config.yaml ]; then
  echo "deploy/compose/secrets is there already; remove it for new secrets (and the volumes with it)" >&2
  exit 0
fi
mkdir -p secrets
chmod 700 secrets
cd secrets

random() { head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
sha() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -d' ' -f1; }
put() { printf '%s' "$2" > "$1"; chmod 644 "$1"; }

put postgres_password "$(random 24)"
put database_admin "postgres://postgres:$(cat postgres_password)@postgres:5432/shop?sslmode=disable"
for login in logistics sales analytics checkout membership; do put "${login}_password" "$(random 24)"; done
put hmac_key "$(random 32)"
put blob_key "$(head -c 64 /dev/urandom | base64 | tr -d '\n')"
put blob_connection "DefaultEndpointsProtocol=http;AccountName=millrun;AccountKey=$(cat blob_key);BlobEndpoint=http://blobd:10000/millrun;"
# Azurite's account and key are the same everywhere; Microsoft documents them.
put azurite_connection "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;BlobEndpoint=http://azurite:10000/devstoreaccount1;"
for name in demo logistics sales checkout membership; do put "api_key_$name" "$(random 24)"; done
key() { sha < "api_key_$1"; }

cat > config.yaml <<YAML
kafka:
  brokers: [kafka:9092]
  replication: 1
tenants:
  demo: {class: standard}
blob:
  connection_string: file:/run/secrets/blob_connection
database:
  url: postgres://postgres:5432/shop?sslmode=disable
  credentials:
    logistics: {user: logistics_app, password: file:/run/secrets/logistics_password}
    sales: {user: sales_app, password: file:/run/secrets/sales_password}
    analytics: {user: analytics_ro, password: file:/run/secrets/analytics_password}
    checkout: {user: checkout_app, password: file:/run/secrets/checkout_password}
    membership: {user: member_app, password: file:/run/secrets/membership_password}
http:
  addr: 0.0.0.0:8080
  public_url: http://localhost:8080
auth:
  api_keys:
    - {name: demo, tenant: demo, scopes: [images:read, images:write], sha256: $(key demo)}
    - {name: logistics, team: logistics, scopes: ["changes:orders.completed"], sha256: $(key logistics)}
    - {name: sales, team: sales, scopes: ["changes:items.changes"], sha256: $(key sales)}
    - {name: checkout, team: checkout, scopes: ["changes:orders.placed"], sha256: $(key checkout)}
    - {name: membership, team: membership, scopes: ["changes:members.changes"], sha256: $(key membership)}
retention:
  hmac_key: file:/run/secrets/hmac_key
feed:
  tenant: demo
YAML
chmod 644 config.yaml
echo "secrets made; the key of tenant demo is in deploy/compose/secrets/api_key_demo"
