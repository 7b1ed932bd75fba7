package blobd

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// createContainer is Create Container. The data plane makes ordinary containers only; Azure's control plane, here
// Server.CreateContainer, makes those with version-level immutability.
func (c *call) createContainer() error {
	meta, err := c.metadata()
	if err != nil {
		return err
	}
	if access := c.header("x-ms-blob-public-access"); access != "" {
		return conflict("PublicAccessNotPermitted", "Public access is not permitted on this storage account.")
	}
	rec := &containerRecord{Name: c.container, Meta: meta}
	if err := c.s.createContainer(rec); err != nil {
		return err
	}
	c.set("ETag", rec.ETag.quoted())
	c.set("Last-Modified", httpTime(rec.Modified))
	return c.done(http.StatusCreated)
}

// containerCondition judges the time conditions, which are all that containers know.
func (c *call) containerCondition(rec *containerRecord) error {
	q, err := c.conditions()
	if err != nil {
		return err
	}
	q.match, q.noneMatch = "", ""
	return q.checkWrite(&version{ETag: rec.ETag, Modified: rec.Modified})
}

func (c *call) deleteContainer() error {
	k, err := c.theContainer()
	if err != nil {
		return err
	}
	if err := c.containerCondition(k.rec.Load()); err != nil {
		return err
	}
	if err := c.s.deleteContainer(k); err != nil {
		return err
	}
	return c.done(http.StatusAccepted)
}

// getContainer is Get Container Properties and Get Container Metadata, which differ in headers only.
func (c *call) getContainer() error {
	k, err := c.theContainer()
	if err != nil {
		return err
	}
	rec := k.rec.Load()
	h := c.w.Header()
	h.Set("ETag", rec.ETag.quoted())
	h.Set("Last-Modified", httpTime(rec.Modified))
	for name, value := range rec.Meta {
		h.Set(metaPrefix+name, value)
	}
	if c.query.Get("comp") == "" {
		h.Set("X-Ms-Lease-Status", "unlocked")
		h.Set("X-Ms-Lease-State", "available")
		h.Set("X-Ms-Has-Immutability-Policy", strconv.FormatBool(rec.DefaultDays > 0))
		h.Set("X-Ms-Has-Legal-Hold", "false")
		h.Set("X-Ms-Immutable-Storage-With-Versioning-Enabled", strconv.FormatBool(rec.Immutable))
		h.Set("X-Ms-Default-Encryption-Scope", "$account-encryption-key")
		h.Set("X-Ms-Deny-Encryption-Scope-Override", "false")
	}
	return c.done(http.StatusOK)
}

func (c *call) setContainerMetadata() error {
	k, err := c.theContainer()
	if err != nil {
		return err
	}
	meta, err := c.metadata()
	if err != nil {
		return err
	}
	k.life.Lock()
	defer k.life.Unlock()
	if k.gone {
		return errContainerNotFound()
	}
	if err := c.containerCondition(k.rec.Load()); err != nil {
		return err
	}
	rec := *k.rec.Load()
	rec.Meta, rec.Modified, rec.ETag = meta, c.now, c.s.store.stamp(c.now)
	if err := c.s.saveContainer(k, &rec); err != nil {
		return err
	}
	c.set("ETag", rec.ETag.quoted())
	c.set("Last-Modified", httpTime(rec.Modified))
	return c.done(http.StatusOK)
}

// listContainers is List Containers.
func (c *call) listContainers() error {
	limit, err := c.maxResults()
	if err != nil {
		return err
	}
	from, err := c.marker()
	if err != nil {
		return err
	}
	store := c.s.store
	store.mu.RLock()
	names := slices.Sorted(maps.Keys(store.containers))
	store.mu.RUnlock()
	withMeta := strings.Contains(c.query.Get("include"), "metadata")
	var x xmlWriter
	x.openWith("EnumerationResults", "ServiceEndpoint", c.endpoint())
	x.leafIf("Prefix", c.query.Get("prefix"))
	x.leafIf("Marker", c.query.Get("marker"))
	x.leafIf("MaxResults", c.query.Get("maxresults"))
	x.open("Containers")
	var next marker
	shown := 0
	for _, name := range names {
		k := store.container(name)
		if k == nil || name < from.name || !strings.HasPrefix(name, c.query.Get("prefix")) {
			continue
		}
		if shown == limit {
			next = marker{name: name}
			break
		}
		shown++
		x.container(k.rec.Load(), withMeta)
	}
	x.close("Containers")
	x.leaf("NextMarker", next.String())
	x.close("EnumerationResults")
	return c.xml(http.StatusOK, x.bytes())
}

func (x *xmlWriter) container(rec *containerRecord, withMeta bool) {
	x.open("Container")
	x.leaf("Name", rec.Name)
	x.open("Properties")
	x.leafTime("Last-Modified", rec.Modified)
	x.leaf("Etag", rec.ETag.quoted())
	x.leaf("LeaseStatus", "unlocked")
	x.leaf("LeaseState", "available")
	x.leaf("DefaultEncryptionScope", "$account-encryption-key")
	x.leaf("DenyEncryptionScopeOverride", "false")
	x.leaf("HasImmutabilityPolicy", strconv.FormatBool(rec.DefaultDays > 0))
	x.leaf("HasLegalHold", "false")
	x.leaf("ImmutableStorageWithVersioningEnabled", strconv.FormatBool(rec.Immutable))
	x.close("Properties")
	if withMeta && len(rec.Meta) > 0 {
		x.pairs("Metadata", rec.Meta)
	}
	x.close("Container")
}

// getAccountInfo is Get Account Information.
func (c *call) getAccountInfo() error {
	c.set("x-ms-sku-name", "Standard_LRS")
	c.set("x-ms-account-kind", "StorageV2")
	c.set("x-ms-is-hns-enabled", "false")
	return c.done(http.StatusOK)
}

// serviceProperties is the part of Blob Service Properties that this server keeps.
type serviceProperties struct {
	DeleteRetentionPolicy *struct {
		Enabled              bool
		AllowPermanentDelete bool
		Days                 int
	}
}

// getServiceProperties is Get Blob Service Properties.
func (c *call) getServiceProperties() error {
	rec := c.s.service.Load()
	var x xmlWriter
	x.open("StorageServiceProperties")
	x.open("Logging")
	x.leaf("Version", "1.0")
	for _, name := range []string{"Delete", "Read", "Write"} {
		x.leaf(name, "false")
	}
	x.retention("RetentionPolicy", 0, false)
	x.close("Logging")
	for _, name := range []string{"HourMetrics", "MinuteMetrics"} {
		x.open(name)
		x.leaf("Version", "1.0")
		x.leaf("Enabled", "false")
		x.retention("RetentionPolicy", 0, false)
		x.close(name)
	}
	x.open("Cors")
	x.close("Cors")
	x.retention("DeleteRetentionPolicy", rec.SoftDeleteDays, rec.AllowPermanent)
	x.open("StaticWebsite")
	x.leaf("Enabled", "false")
	x.close("StaticWebsite")
	x.close("StorageServiceProperties")
	return c.xml(http.StatusOK, x.bytes())
}

func (x *xmlWriter) retention(name string, days int, permanent bool) {
	x.open(name)
	x.leaf("Enabled", strconv.FormatBool(days > 0))
	x.leafTrue("AllowPermanentDelete", permanent)
	if days > 0 {
		x.leaf("Days", strconv.Itoa(days))
	}
	x.close(name)
}

// setServiceProperties is Set Blob Service Properties. Only the delete retention policy has an effect; it applies to
// what is deleted from now on.
func (c *call) setServiceProperties() error {
	var in serviceProperties
	if err := c.readXML(&in); err != nil {
		return err
	}
	if p := in.DeleteRetentionPolicy; p != nil {
		if p.Enabled && (p.Days < 1 || p.Days > 365) {
			return badRequest("InvalidXmlNodeValue", "The value for one of the XML nodes is not in the correct format: Days must be 1 to 365.")
		}
		rec := &serviceRecord{AllowPermanent: p.Enabled && p.AllowPermanentDelete}
		if p.Enabled {
			rec.SoftDeleteDays = p.Days
		}
		c.s.setting.Lock()
		defer c.s.setting.Unlock()
		if err := c.s.disk.replace(serviceFile, rec); err != nil {
			return err
		}
		c.s.service.Store(rec)
	}
	return c.done(http.StatusAccepted)
}
