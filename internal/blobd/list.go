package blobd

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// include is what List Blobs was asked to show besides the current versions.
type include struct {
	snapshots, metadata, uncommitted, tags, deleted, versions, deletedWithVersions, policy, hold bool
}

func (c *call) include() (include, error) {
	var in include
	known := map[string]*bool{
		"snapshots": &in.snapshots, "metadata": &in.metadata, "uncommittedblobs": &in.uncommitted, "tags": &in.tags,
		"deleted": &in.deleted, "versions": &in.versions, "deletedwithversions": &in.deletedWithVersions,
		"immutabilitypolicy": &in.policy, "legalhold": &in.hold, "copy": new(bool), "permissions": new(bool),
	}
	for word := range strings.SplitSeq(c.query.Get("include"), ",") {
		word = strings.ToLower(strings.TrimSpace(word))
		if word == "" {
			continue
		}
		flag := known[word]
		if flag == nil {
			return in, badRequest(codeInvalidQuery, "Value for one of the query parameters specified in the request URI is invalid: include.")
		}
		*flag = true
	}
	return in, nil
}

// entry is one line of a list: a version of a blob, a blob that has only uncommitted blocks, or a common prefix.
type entry struct {
	name    string
	prefix  bool
	v       *version // nil for a prefix and for uncommitted blocks
	current bool
	only    bool // there is no current version, only others
}

// key orders the entries of one name and lets a marker say where to go on.
func (e entry) key() stamp {
	switch {
	case e.v == nil || e.current:
		return 1<<63 - 1
	case e.v.Snapshot != 0:
		return e.v.Snapshot
	}
	return e.v.ID
}

// marker is where the next page begins: the entry of that name and key, or the first one after.
type marker struct {
	name string
	key  stamp
}

func (m marker) String() string {
	if m.name == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(decimal(int64(m.key)) + "/" + m.name))
}

func (c *call) marker() (marker, error) {
	text := c.query.Get("marker")
	if text == "" {
		return marker{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	key, name, ok := strings.Cut(string(raw), "/")
	n, kerr := strconv.ParseInt(key, 10, 64)
	if err != nil || kerr != nil || !ok {
		return marker{}, badRequest(codeOutOfRangeQuery, "One of the query parameters specified in the request URI is outside the permissible range: marker.")
	}
	return marker{name: name, key: stamp(n)}, nil
}

func (c *call) maxResults() (int, error) {
	text := c.query.Get("maxresults")
	if text == "" {
		return maxListResults, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, badRequest(codeOutOfRangeQuery, "One of the query parameters specified in the request URI is outside the permissible range: maxresults.")
	}
	return min(n, maxListResults), nil
}

// listBlobs is List Blobs, flat or, with a delimiter, as folders.
func (c *call) listBlobs() error {
	k, err := c.theContainer()
	if err != nil {
		return err
	}
	in, err := c.include()
	if err != nil {
		return err
	}
	from, err := c.marker()
	if err != nil {
		return err
	}
	limit, err := c.maxResults()
	if err != nil {
		return err
	}
	entries, next := c.page(k, in, from, limit)
	var x xmlWriter
	x.openWith("EnumerationResults", "ServiceEndpoint", c.endpoint(), "ContainerName", c.container)
	x.leafIf("Prefix", c.query.Get("prefix"))
	x.leafIf("Marker", c.query.Get("marker"))
	x.leafIf("MaxResults", c.query.Get("maxresults"))
	x.leafIf("Delimiter", c.query.Get("delimiter"))
	x.open("Blobs")
	for _, e := range entries {
		if e.prefix {
			x.open("BlobPrefix")
			x.name(e.name)
			x.close("BlobPrefix")
		} else {
			x.blob(e, in, c)
		}
	}
	x.close("Blobs")
	x.leaf("NextMarker", next.String())
	x.close("EnumerationResults")
	return c.xml(http.StatusOK, x.bytes())
}

// endpoint is the URL of the service as the client sees it.
func (c *call) endpoint() string {
	scheme := "http"
	if c.r.TLS != nil {
		scheme = "https"
	}
	if c.hostStyle() {
		return scheme + "://" + c.r.Host + "/"
	}
	return scheme + "://" + c.r.Host + "/" + c.s.cfg.Account
}

// page collects up to limit entries from the marker on, and where the next page begins.
func (c *call) page(k *container, in include, from marker, limit int) ([]entry, marker) {
	prefix, delimiter := c.query.Get("prefix"), c.query.Get("delimiter")
	var out []entry
	name := max(prefix, from.name)
	for {
		b, folder := k.at(name, prefix, delimiter)
		if b == nil && folder == "" {
			return out, marker{}
		}
		if folder != "" {
			if c.folderShown(k, folder, in) {
				if len(out) == limit {
					return out, marker{name: folder}
				}
				out = append(out, entry{name: folder, prefix: true})
			}
			name = folder + "\U0010FFFF\U0010FFFF"
			continue
		}
		for _, e := range c.entries(b, in) {
			if b.name == from.name && e.key() < from.key {
				continue
			}
			if len(out) == limit {
				return out, marker{name: b.name, key: e.key()}
			}
			out = append(out, e)
		}
		name = b.name + "\x00"
	}
}

// at is the first blob from name on that has the prefix, or the folder that it lies in.
func (c *container) at(name, prefix, delimiter string) (*blob, string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	i, _ := slices.BinarySearch(c.names, name)
	if i == len(c.names) || !strings.HasPrefix(c.names[i], prefix) {
		return nil, ""
	}
	full := c.names[i]
	if delimiter != "" {
		if before, _, ok := strings.Cut(full[len(prefix):], delimiter); ok {
			return nil, prefix + before + delimiter
		}
	}
	return c.blobs[full], ""
}

// folderShown says whether anything in the folder would be listed.
func (c *call) folderShown(k *container, folder string, in include) bool {
	name := folder
	for {
		b, _ := k.at(name, folder, "")
		if b == nil {
			return false
		}
		if len(c.entries(b, in)) > 0 {
			return true
		}
		name = b.name + "\x00"
	}
}

// entries are the lines that a blob has in the list, oldest first and the current version last.
func (c *call) entries(b *blob, in include) []entry {
	st := b.state.Load().expire(c.now)
	var out []entry
	only := st.Current == nil
	for _, v := range st.Previous {
		if (in.versions && v.Deleted.IsZero()) || (in.deleted && in.versions && !v.Deleted.IsZero()) {
			out = append(out, entry{name: b.name, v: v})
		}
	}
	for _, v := range st.Snapshots {
		if in.snapshots && (v.Deleted.IsZero() || in.deleted) {
			out = append(out, entry{name: b.name, v: v})
		}
	}
	slices.SortStableFunc(out, func(a, b entry) int { return int(min(max(a.key()-b.key(), -1), 1)) })
	switch {
	case st.Current != nil:
		return append(out, entry{name: b.name, v: st.Current, current: true})
	case st.Gone != nil && in.deleted:
		return append(out, entry{name: b.name, v: st.Gone})
	case in.deletedWithVersions && !in.versions && len(st.Previous) > 0:
		return append(out, entry{name: b.name, v: st.Previous[len(st.Previous)-1], only: true})
	case only && in.uncommitted && b.hasPending():
		return append(out, entry{name: b.name})
	}
	return out
}

// blob writes one <Blob>.
func (x *xmlWriter) blob(e entry, in include, c *call) {
	x.open("Blob")
	x.name(e.name)
	v := e.v
	if v == nil {
		x.open("Properties")
		x.leaf("Content-Length", "0")
		x.leaf("BlobType", "BlockBlob")
		x.close("Properties")
		x.close("Blob")
		return
	}
	x.leafTrue("Deleted", !v.Deleted.IsZero() || e.only)
	if v.Snapshot != 0 {
		x.leaf("Snapshot", v.Snapshot.String())
	}
	if v.ID != 0 && v.Snapshot == 0 && (in.versions || in.deletedWithVersions) {
		x.leaf("VersionId", v.ID.String())
		x.leafTrue("IsCurrentVersion", e.current)
	}
	x.properties(v, in, c)
	if in.metadata && len(v.Meta) > 0 {
		x.pairs("Metadata", v.Meta)
	}
	if in.tags && len(v.Tags) > 0 {
		x.open("Tags")
		x.open("TagSet")
		for _, key := range sortedKeys(v.Tags) {
			x.open("Tag")
			x.leaf("Key", key)
			x.leaf("Value", v.Tags[key])
			x.close("Tag")
		}
		x.close("TagSet")
		x.close("Tags")
	}
	x.leafTrue("HasVersionsOnly", e.only)
	x.close("Blob")
}

func (x *xmlWriter) properties(v *version, in include, c *call) {
	x.open("Properties")
	x.leafTime("Creation-Time", v.Created)
	x.leafTime("Last-Modified", v.Modified)
	x.leaf("Etag", v.ETag.etag())
	x.leaf("Content-Length", decimal(v.Size))
	x.leafIf("Content-Type", v.Content.Type)
	x.leafIf("Content-Encoding", v.Content.Encoding)
	x.leafIf("Content-Language", v.Content.Language)
	x.leafIf("Content-MD5", v.Content.MD5)
	x.leafIf("Cache-Control", v.Content.CacheControl)
	x.leafIf("Content-Disposition", v.Content.Disposition)
	x.leaf("BlobType", "BlockBlob")
	x.leaf("AccessTier", tierOf(v))
	x.leafTrue("AccessTierInferred", v.Tier == "")
	x.leafTime("AccessTierChangeTime", v.TierSet)
	if v.Snapshot == 0 {
		x.leaf("LeaseStatus", "unlocked")
		x.leaf("LeaseState", "available")
	}
	x.leaf("ServerEncrypted", "false")
	if !v.Deleted.IsZero() {
		x.leafTime("DeletedTime", v.Deleted)
		left := v.Deleted.Add(v.Keep).Sub(c.now)
		x.leaf("RemainingRetentionDays", strconv.Itoa(int(left/day)))
	}
	if in.policy && v.Policy != nil {
		x.leafTime("ImmutabilityPolicyUntilDate", v.Policy.Until)
		x.leaf("ImmutabilityPolicyMode", v.Policy.mode())
	}
	if in.hold && v.Hold {
		x.leaf("LegalHold", "true")
	}
	if len(v.Tags) > 0 {
		x.leaf("TagCount", strconv.Itoa(len(v.Tags)))
	}
	x.close("Properties")
}
