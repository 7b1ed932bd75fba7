//nolint:gosec // MD5 is the digest that Blob Storage checks bodies with; it guards against damage, not people.
package azblob

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// digests are what an object's bytes come to.
type digests struct {
	md5  []byte
	sha  string // hexadecimal
	size int64
}

// digest reads body to its end and rewinds it.
func digest(body io.ReadSeeker) (digests, error) {
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return digests{}, fmt.Errorf("azblob: rewind: %w", err)
	}
	m, s := md5.New(), sha256.New()
	n, err := io.Copy(io.MultiWriter(m, s), body)
	if err != nil {
		return digests{}, fmt.Errorf("azblob: read the object: %w", err)
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return digests{}, fmt.Errorf("azblob: rewind: %w", err)
	}
	return digests{md5: m.Sum(nil), sha: hex.EncodeToString(s.Sum(nil)), size: n}, nil
}

// md5Of is the MD5 of one block.
func md5Of(b []byte) []byte {
	sum := md5.Sum(b)
	return sum[:]
}
