// Package blobd is a Blob REST server on local disk: the part of Azure Blob Storage that Millrun uses, spoken to by
// Microsoft's azblob module unchanged.
//
// It exists because no emulator offers what the archive's promise rests on: version-level immutability, legal holds,
// versions and soft delete, under a clock that a test can move. What it answers (status, x-ms-error-code, XML) is
// what Azure's REST reference documents; docs/blobd.md lists what is answered, what is left out, and what the
// reference leaves open.
//
// # On disk
//
// One folder per blob, named by a digest, so that no name of a client ever becomes a path:
//
//	DIR/format                                 the layout's number
//	DIR/lock                                   held while a Server has DIR open
//	DIR/service.json                           soft delete settings
//	DIR/tmp/                                   what is being written; emptied at Open
//	DIR/c/{sha256(container)}/container.json   name, metadata, immutability default
//	DIR/c/{…}/b/{sha256(blob)}/head.json       name and every version, snapshot and their properties
//	DIR/c/{…}/b/{…}/s-….seg                    bytes of a version (one Put Blob)
//	DIR/c/{…}/b/{…}/u-{epoch}-{stamp}-{id}.seg bytes of one block, committed or not
//
// Replacing head.json (write to tmp, fsync, rename, fsync the folder) is the only commit point. A segment is on disk
// before the head that names it and is removed after the head that no longer does, so a process killed at any moment
// leaves either the old or the new state and possibly segments that nobody names; Open removes those. There is no
// journal: what is deleted is in no file of the folder any more.
package blobd
