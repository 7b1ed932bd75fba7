// Package azblob keeps the image pipeline's bytes in Azure Blob Storage: staging for what has just arrived, an archive
// that nobody can change for seven days, the purge that surely empties it afterwards, and the ledger that proves both.
//
// It speaks the Blob protocol through Microsoft's azblob module alone, so it runs unchanged against Azure and the
// embedded server (internal/blobd) and, where a mutable archive is allowed in so many words, against Azurite.
//
// Three rules hold everywhere. Time is the caller's clock.Clock, never the machine's. A promise is believed only when
// it is read back: Azurite, for one, accepts an immutability policy and forgets it. And nothing that names a person or
// their picture enters the ledger, which knows images by HMAC only.
package azblob
