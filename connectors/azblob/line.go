package azblob

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Action is what a line of the ledger says has happened.
type Action string

// The actions of the ledger.
const (
	ActionStored   Action = "stored"   // an image was found in the archive; again when its expiry has moved
	ActionHeld     Action = "held"     // its purge was due and a legal hold stopped it
	ActionReleased Action = "released" // the hold has ended
	ActionPurged   Action = "purged"   // it is gone, every version, and a list proved it
)

// The scopes of the ledger: what a line is about.
const (
	ScopeArchive   = "archive"
	ScopeStaging   = "staging"
	ScopeAnalytics = "analytics"
)

// Line is one line of the ledger. It holds no personal data and no digest of content: an image is named by an HMAC
// whose key is not in the ledger.
type Line struct {
	Seq       int64     `json:"seq"` // 1, 2, 3 … without gaps over the whole ledger
	At        time.Time `json:"at"`
	Action    Action    `json:"action"`
	Scope     string    `json:"scope"`
	Image     string    `json:"image,omitempty"` // HMAC-SHA256(key, tenant 0x00 image_id) in hexadecimal
	Hour      string    `json:"hour,omitempty"`  // UTC hour of the receipt, which tells two lives of an image apart
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Policy    string    `json:"policy,omitempty"` // locked, unlocked or none
	Count     int       `json:"count"`            // blobs: found or, when purged, versions deleted
	Prev      string    `json:"prev"`             // SHA-256 of the previous line's bytes; empty in the first
}

// life is the line's image in one of its lives.
func (l Line) life() string { return l.Hour + "|" + l.Image }

// imageHMAC is how the ledger names an image.
func imageHMAC(key []byte, tenant, imageID string) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(tenant))
	m.Write([]byte{0})
	m.Write([]byte(imageID))
	return hex.EncodeToString(m.Sum(nil))
}

// chain is the end of a verified run of lines.
type chain struct {
	seq  int64
	head string
}

// seal fills in number and link of a line that follows the chain, and returns its bytes without line feed.
func (c *chain) seal(l *Line) ([]byte, error) {
	l.Seq, l.Prev = c.seq+1, c.head
	b, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("azblob: ledger line: %w", err)
	}
	c.advance(b)
	return b, nil
}

func (c *chain) advance(line []byte) {
	sum := sha256.Sum256(line)
	c.seq++
	c.head = hex.EncodeToString(sum[:])
}

// errChain marks a ledger whose lines do not follow from one another.
var errChain = errors.New("azblob: the ledger's chain is broken")

// check reads one file's lines, each of which must follow the chain, and calls f with each.
func (c *chain) check(name string, content []byte, f func(Line)) error {
	if len(content) == 0 || content[len(content)-1] != '\n' {
		return fmt.Errorf("%w: %s does not end with a whole line", errChain, name)
	}
	for raw := range bytes.SplitSeq(content[:len(content)-1], []byte("\n")) {
		var l Line
		if err := json.Unmarshal(raw, &l); err != nil {
			return fmt.Errorf("%w: %s, after line %d: %w", errChain, name, c.seq, err)
		}
		if l.Seq != c.seq+1 || l.Prev != c.head {
			return fmt.Errorf("%w: %s: line %d does not follow line %d", errChain, name, l.Seq, c.seq)
		}
		c.advance(raw)
		f(l)
	}
	return nil
}
