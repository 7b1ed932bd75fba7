// Package real starts the real components that Millrun is tested against, without Docker: Apache Kafka (KRaft, one node)
// from Maven's jars, Azurite from npm, and PostgreSQL. It serves tests (Kafka, Azurite, Postgres, PostgresServer) and
// `make real` (Start, Stop, Status). The product never imports it.
//
// Programs are fetched once into a cache folder (MILLRUN_CACHE, by default the user's cache folder) under a file lock,
// so that any number of processes may ask at the same time.
//
// What tests use is shared by all packages of one `go test` run. The first test that asks starts a supervisor process,
// one for each component; each test process holds a lease (a shared file lock, given back by the kernel however the
// process ends), and the supervisor stops its component and itself when no lease is held any more. On Linux the
// component dies with the supervisor too. So nothing stays behind, also when a test binary is killed.
package real
