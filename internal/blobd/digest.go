//nolint:gosec // MD5 is the digest that the protocol checks bodies with; it guards against damage, not people.
package blobd

import (
	"crypto/md5"
	"hash"
)

func newMD5() hash.Hash { return md5.New() }
