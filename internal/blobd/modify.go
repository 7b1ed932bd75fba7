package blobd

import (
	"net/http"
	"strings"
)

const maxTags = 10

// amend changes the version that the request names in place: a copy with f applied takes its seat. f sees the
// version as it is and may refuse.
func (c *call) amend(f func(k *container, v *version) error) (*version, error) {
	k, err := c.theContainer()
	if err != nil {
		return nil, err
	}
	var out *version
	err = c.change(k, false, func(_ *blob, st *state) (*state, error) {
		v, current, err := c.pick(st)
		if err != nil {
			return nil, err
		}
		out = v.clone()
		if err := f(k, out); err != nil {
			return nil, err
		}
		if current {
			next := st.clone()
			next.Current = out
			return next, nil
		}
		return st.without(v, func(*version) *version { return out }), nil
	})
	return out, err
}

// setMetadata is Set Blob Metadata. Under versioning it makes a new version over the same bytes; a version that has,
// or had, a policy refuses.
func (c *call) setMetadata() error {
	k, err := c.theContainer()
	if err != nil {
		return err
	}
	meta, err := c.metadata()
	if err != nil {
		return err
	}
	var nv *version
	err = c.change(k, false, func(_ *blob, st *state) (*state, error) {
		old := st.Current
		if old == nil {
			return nil, errBlobNotFound()
		}
		if err := c.writeConditions(old); err != nil {
			return nil, err
		}
		if err := unprotectedEver(old); err != nil {
			return nil, err
		}
		nv = old.clone()
		nv.Meta = meta
		return c.successor(k, st, nv), nil
	})
	if err != nil {
		return err
	}
	c.writeVersionHeaders(nv, c.s.versioned(k))
	return c.done(http.StatusOK)
}

// unprotectedEver refuses what immutability forbids even after the policy has run out: changes of the version itself.
func unprotectedEver(v *version) error {
	switch {
	case v.Hold:
		return errImmutable(codeImmutableHold)
	case v.Policy != nil:
		return errImmutable(codeImmutablePolicy)
	}
	return nil
}

// successor makes nv, a changed copy of the current version, current. Under versioning the old one stays and nv is
// a version of its own, with the container's default policy; otherwise nv takes its place.
func (c *call) successor(k *container, st *state, nv *version) *state {
	next := st.clone()
	at := c.s.store.stamp(c.now)
	nv.ETag, nv.Modified = at, c.now
	if c.s.versioned(k) {
		next.Previous = append(next.Previous, asPrevious(st.Current))
		nv.ID, nv.Hold, nv.Policy = at, false, defaultPolicy(k.rec.Load(), c.now)
	}
	next.Current = nv
	return next
}

// setProperties is Set Blob Properties: the HTTP headers, all replaced at once. It makes no version.
func (c *call) setProperties() error {
	props, err := c.blobContent(false)
	if err != nil {
		return err
	}
	v, err := c.amend(func(_ *container, v *version) error {
		if err := c.writeConditions(v); err != nil {
			return err
		}
		v.Content = props
		v.ETag, v.Modified = c.s.store.stamp(c.now), c.now
		return nil
	})
	if err != nil {
		return err
	}
	c.set("ETag", v.ETag.quoted())
	c.set("Last-Modified", httpTime(v.Modified))
	return c.done(http.StatusOK)
}

// setTier is Set Blob Tier, which immutability allows. Nothing is ever rehydrated here: all tiers read at once.
func (c *call) setTier() error {
	tier, err := parseTier(c.header("x-ms-access-tier"))
	if err != nil {
		return err
	}
	if _, err := c.amend(func(_ *container, v *version) error {
		v.Tier, v.TierSet = tier, c.now
		return nil
	}); err != nil {
		return err
	}
	return c.done(http.StatusOK)
}

func parseTier(text string) (string, error) {
	for _, tier := range []string{"Hot", "Cool", "Cold", "Archive"} {
		if strings.EqualFold(text, tier) {
			return tier, nil
		}
	}
	return "", badRequest(codeInvalidBlobTier, "The specified blob tier is not valid: use Hot, Cool, Cold or Archive.")
}

// snapshot is Snapshot Blob. Under versioning the current version gives way to a new one over the same bytes.
func (c *call) snapshot() error {
	k, err := c.theContainer()
	if err != nil {
		return err
	}
	meta, err := c.metadata()
	if err != nil {
		return err
	}
	var snap, nv *version
	err = c.change(k, false, func(_ *blob, st *state) (*state, error) {
		if st.Current == nil {
			return nil, errBlobNotFound()
		}
		if err := c.writeConditions(st.Current); err != nil {
			return nil, err
		}
		snap = st.Current.clone()
		if meta != nil {
			snap.Meta = meta
		}
		snap.ID, snap.Hold, snap.Policy = 0, false, defaultPolicy(k.rec.Load(), c.now)
		snap.Snapshot = c.s.store.stamp(c.now)
		next := st.clone()
		nv = st.Current
		if c.s.versioned(k) {
			nv = st.Current.clone()
			next = c.successor(k, st, nv)
		}
		next.Snapshots = append(next.Snapshots, snap)
		return next, nil
	})
	if err != nil {
		return err
	}
	c.writeVersionHeaders(nv, c.s.versioned(k))
	c.set("x-ms-snapshot", snap.Snapshot.String())
	return c.done(http.StatusCreated)
}

// tagSet is the body of Set Blob Tags.
type tagSet struct {
	Tags []struct{ Key, Value string } `xml:"TagSet>Tag"`
}

// setTags is Set Blob Tags.
func (c *call) setTags() error {
	var in tagSet
	if err := c.readXML(&in); err != nil {
		return err
	}
	if len(in.Tags) > maxTags {
		return badRequest(codeInvalidInput, "The tags specified are invalid: a blob has at most 10 tags.")
	}
	tags := make(map[string]string, len(in.Tags))
	for _, t := range in.Tags {
		if t.Key == "" || len(t.Key) > 128 || len(t.Value) > 256 {
			return badRequest(codeInvalidInput, "The tags specified are invalid: a key has 1 to 128 characters, a value at most 256.")
		}
		tags[t.Key] = t.Value
	}
	if _, err := c.amend(func(_ *container, v *version) error { v.Tags = tags; return nil }); err != nil {
		return err
	}
	return c.done(http.StatusNoContent)
}

// getTags is Get Blob Tags.
func (c *call) getTags() error {
	_, v, _, err := c.readTarget()
	if err != nil {
		return err
	}
	var x xmlWriter
	x.open("Tags")
	x.open("TagSet")
	for _, k := range sortedKeys(v.Tags) {
		x.open("Tag")
		x.leaf("Key", k)
		x.leaf("Value", v.Tags[k])
		x.close("Tag")
	}
	x.close("TagSet")
	x.close("Tags")
	return c.xml(http.StatusOK, x.bytes())
}
