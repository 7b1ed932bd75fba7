package blobd

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// deletePermission is the letter that a Delete Blob needs: 'y' for a permanent one, 'x' for a version.
func (c *call) deletePermission() string {
	switch {
	case c.permanent():
		return "y"
	case c.query.Get("versionid") != "":
		return "x"
	}
	return "d"
}

func (c *call) permanent() bool { return strings.EqualFold(c.query.Get("deletetype"), "permanent") }

// deleteBlob is Delete Blob: of the base blob, its snapshots, one version or one snapshot.
func (c *call) deleteBlob() error {
	k, err := c.theContainer()
	if err != nil {
		return err
	}
	id, snap := c.query.Get("versionid"), c.query.Get("snapshot")
	if c.permanent() && id == "" && snap == "" {
		return badRequest(codeInvalidQuery, "A permanent delete names a version or a snapshot.")
	}
	err = c.change(k, false, func(_ *blob, st *state) (*state, error) {
		switch {
		case c.permanent():
			return c.purgeDeleted(st)
		case id != "" || snap != "":
			return c.deleteOne(st)
		}
		return c.deleteBase(k, st)
	})
	if err != nil {
		return err
	}
	if c.s.softDelete() == 0 || c.permanent() {
		c.set("x-ms-delete-type-permanent", "true")
	} else {
		c.set("x-ms-delete-type-permanent", "false")
	}
	return c.done(http.StatusAccepted)
}

// deleteOne deletes the version or snapshot that the query names.
func (c *call) deleteOne(st *state) (*state, error) {
	v, current, err := c.pick(st)
	if err != nil {
		return nil, err
	}
	if err := c.writeConditions(v); err != nil {
		return nil, err
	}
	if why := v.protection(c.now); why != "" {
		return nil, errImmutable(why)
	}
	if current {
		return nil, forbidden(codeNotOnRootBlob, "This operation is not permitted on a root blob.")
	}
	return st.without(v, c.softDeleted), nil
}

// softDeleted is v as soft delete keeps it, or nil when it keeps nothing.
func (c *call) softDeleted(v *version) *version {
	keep := c.s.softDelete()
	if keep == 0 {
		return nil
	}
	w := v.clone()
	w.Deleted, w.Keep = c.now, keep
	return w
}

// without is the state with v replaced by what instead makes of it; nil removes it.
func (s *state) without(v *version, instead func(*version) *version) *state {
	next := s.clone()
	for _, list := range []*[]*version{&next.Previous, &next.Snapshots} {
		i := slices.Index(*list, v)
		if i < 0 {
			continue
		}
		if w := instead(v); w != nil {
			(*list)[i] = w
		} else {
			*list = slices.Delete(*list, i, i+1)
		}
	}
	return next
}

// deleteBase deletes the current version and, as x-ms-delete-snapshots says, the snapshots.
func (c *call) deleteBase(k *container, st *state) (*state, error) {
	mode := strings.ToLower(c.header("x-ms-delete-snapshots"))
	if mode != "" && mode != "include" && mode != "only" {
		return nil, badRequest(codeInvalidHeader, "The value for the HTTP header x-ms-delete-snapshots is not in the correct format.")
	}
	if st.Current == nil {
		return nil, errBlobNotFound()
	}
	if err := c.writeConditions(st.Current); err != nil {
		return nil, err
	}
	live := slices.ContainsFunc(st.Snapshots, func(v *version) bool { return v.Deleted.IsZero() })
	if live && mode == "" {
		return nil, conflict(codeSnapshotsPresent, "This operation is not permitted because the blob has snapshots.")
	}
	next := st.clone()
	if mode != "" {
		if err := c.deleteSnapshots(next); err != nil {
			return nil, err
		}
	}
	if mode == "only" {
		return next, nil
	}
	if why := st.Current.protection(c.now); why != "" {
		return nil, errImmutable(why)
	}
	next.Current = nil
	switch {
	case c.s.versioned(k):
		next.Previous = append(next.Previous, asPrevious(st.Current))
	default:
		next.Gone = c.softDeleted(st.Current)
	}
	return next, nil
}

// deleteSnapshots deletes every live snapshot of next, or none when one of them is protected.
func (c *call) deleteSnapshots(next *state) error {
	var kept []*version
	for _, v := range next.Snapshots {
		if !v.Deleted.IsZero() {
			kept = append(kept, v)
			continue
		}
		if why := v.protection(c.now); why != "" {
			return errImmutable(why)
		}
		if w := c.softDeleted(v); w != nil {
			kept = append(kept, w)
		}
	}
	next.Snapshots = kept
	return nil
}

// writeConditions judges the conditional headers of a change to what exists.
func (c *call) writeConditions(v *version) error {
	q, err := c.conditions()
	if err != nil {
		return err
	}
	return q.checkWrite(v)
}

// purgeDeleted removes a soft-deleted version or snapshot before its retention ends.
func (c *call) purgeDeleted(st *state) (*state, error) {
	if !c.s.service.Load().AllowPermanent {
		return nil, conflict(codePermanentDelete, "Permanent delete is not enabled in the account's delete retention policy.")
	}
	text := c.query.Get("versionid") + c.query.Get("snapshot")
	at, ok := parseStamp(text)
	if !ok {
		return nil, badRequest(codeInvalidQuery, "Value for one of the query parameters specified in the request URI is invalid.")
	}
	v := st.lookup(at, c.query.Get("snapshot") != "")
	if v == nil {
		return nil, errBlobNotFound()
	}
	if v.Deleted.IsZero() {
		return nil, conflict(codePermanentDelete, "Only a soft-deleted version or snapshot can be deleted permanently.")
	}
	return st.without(v, func(*version) *version { return nil }), nil
}

// undelete is Undelete Blob: it restores every soft-deleted version and snapshot and, where versioning is off, the
// base blob. Under versioning no version becomes current by it.
func (c *call) undelete() error {
	k, err := c.theContainer()
	if err != nil {
		return err
	}
	err = c.change(k, false, func(_ *blob, st *state) (*state, error) {
		next := st.clone()
		restore := func(list []*version) {
			for i, v := range list {
				if !v.Deleted.IsZero() {
					list[i] = v.clone()
					list[i].Deleted, list[i].Keep = time.Time{}, 0
				}
			}
		}
		restore(next.Previous)
		restore(next.Snapshots)
		if next.Gone != nil && next.Current == nil {
			next.Current, next.Gone = next.Gone.clone(), nil
			next.Current.Deleted, next.Current.Keep = time.Time{}, 0
		}
		return next, nil
	})
	if err != nil {
		return err
	}
	return c.done(http.StatusOK)
}
