package blobd

import (
	"net/http"
	"strings"
)

// operation is one call of the Blob REST reference.
type operation struct {
	name string

	// perms are the letters of a signature of which one suffices; empty means that any valid credential does.
	perms func(*call) string

	// resource is the resource type of an account signature: 's'ervice, 'c'ontainer or 'o'bject.
	resource byte

	handle func(*call) error
}

// level is how far down a URL points.
type level byte

const (
	atService level = iota
	atContainer
	atBlob
)

// endpoint is what selects an operation.
type endpoint struct {
	method  string
	level   level
	restype string
	comp    string
}

func letters(p string) func(*call) string { return func(*call) string { return p } }

// operationTable is the whole surface. HEAD is looked up as GET.
func operationTable() map[endpoint]*operation {
	return map[endpoint]*operation{
		{http.MethodGet, atService, "", "list"}:                      {"ListContainers", letters("l"), 's', (*call).listContainers},
		{http.MethodGet, atService, "service", "properties"}:         {"GetServiceProperties", letters("r"), 's', (*call).getServiceProperties},
		{http.MethodPut, atService, "service", "properties"}:         {"SetServiceProperties", letters("w"), 's', (*call).setServiceProperties},
		{http.MethodGet, atService, "account", "properties"}:         {"GetAccountInfo", letters(""), 's', (*call).getAccountInfo},
		{http.MethodGet, atContainer, "account", "properties"}:       {"GetAccountInfo", letters(""), 'c', (*call).getAccountInfo},
		{http.MethodGet, atBlob, "account", "properties"}:            {"GetAccountInfo", letters(""), 'o', (*call).getAccountInfo},
		{http.MethodPost, atService, "service", "userdelegationkey"}: {"GetUserDelegationKey", letters(""), 's', (*call).getUserDelegationKey},
		{http.MethodPost, atService, "", "batch"}:                    {"BatchService", letters(""), 's', (*call).batch},

		{http.MethodPut, atContainer, "container", ""}:         {"CreateContainer", letters("cw"), 'c', (*call).createContainer},
		{http.MethodDelete, atContainer, "container", ""}:      {"DeleteContainer", letters("d"), 'c', (*call).deleteContainer},
		{http.MethodGet, atContainer, "container", ""}:         {"GetContainerProperties", letters("r"), 'c', (*call).getContainer},
		{http.MethodGet, atContainer, "container", "metadata"}: {"GetContainerMetadata", letters("r"), 'c', (*call).getContainer},
		{http.MethodPut, atContainer, "container", "metadata"}: {"SetContainerMetadata", letters("w"), 'c', (*call).setContainerMetadata},
		{http.MethodGet, atContainer, "container", "list"}:     {"ListBlobs", letters("l"), 'c', (*call).listBlobs},
		{http.MethodPost, atContainer, "container", "batch"}:   {"BatchContainer", letters(""), 'c', (*call).batch},

		{http.MethodGet, atBlob, "", ""}:          {"GetBlob", letters("r"), 'o', (*call).getBlob},
		{http.MethodGet, atBlob, "", "metadata"}:  {"GetBlobMetadata", letters("r"), 'o', (*call).getMetadata},
		{http.MethodGet, atBlob, "", "blocklist"}: {"GetBlockList", letters("r"), 'o', (*call).getBlockList},
		{http.MethodGet, atBlob, "", "tags"}:      {"GetBlobTags", letters("t"), 'o', (*call).getTags},

		{http.MethodPut, atBlob, "", ""}:           {"PutBlob", letters("cw"), 'o', (*call).putBlob},
		{http.MethodPut, atBlob, "", "block"}:      {"PutBlock", letters("cw"), 'o', (*call).putBlock},
		{http.MethodPut, atBlob, "", "blocklist"}:  {"PutBlockList", letters("cw"), 'o', (*call).putBlockList},
		{http.MethodPut, atBlob, "", "metadata"}:   {"SetBlobMetadata", letters("w"), 'o', (*call).setMetadata},
		{http.MethodPut, atBlob, "", "properties"}: {"SetBlobProperties", letters("w"), 'o', (*call).setProperties},
		{http.MethodPut, atBlob, "", "tags"}:       {"SetBlobTags", letters("t"), 'o', (*call).setTags},
		{http.MethodPut, atBlob, "", "tier"}:       {"SetBlobTier", letters("w"), 'o', (*call).setTier},
		{http.MethodPut, atBlob, "", "snapshot"}:   {"SnapshotBlob", letters("cw"), 'o', (*call).snapshot},
		{http.MethodPut, atBlob, "", "undelete"}:   {"UndeleteBlob", letters("w"), 'o', (*call).undelete},

		{http.MethodPut, atBlob, "", "immutabilitypolicies"}:    {"SetBlobImmutabilityPolicy", letters("i"), 'o', (*call).setPolicy},
		{http.MethodDelete, atBlob, "", "immutabilitypolicies"}: {"DeleteBlobImmutabilityPolicy", letters("i"), 'o', (*call).deletePolicy},
		{http.MethodPut, atBlob, "", "legalhold"}:               {"SetBlobLegalHold", letters("i"), 'o', (*call).setHold},
		{http.MethodDelete, atBlob, "", ""}:                     {"DeleteBlob", (*call).deletePermission, 'o', (*call).deleteBlob},
	}
}

// absent are calls of the reference that this server knows and does not offer.
var absent = map[string]bool{
	"lease": true, "copy": true, "page": true, "pagelist": true, "appendblock": true, "seal": true, "query": true,
	"expiry": true, "acl": true, "blobs": true, "stats": true, "incrementalcopy": true, "rename": true,
}

// route finds the operation for the request.
func (c *call) route() (*operation, error) {
	at := atService
	switch {
	case c.blob != "":
		at = atBlob
	case c.container != "":
		at = atContainer
	}
	comp := strings.ToLower(c.query.Get("comp"))
	e := endpoint{method: c.r.Method, level: at, restype: strings.ToLower(c.query.Get("restype")), comp: comp}
	if e.method == http.MethodHead {
		e.method = http.MethodGet
	}
	if op := c.s.operations[e]; op != nil {
		return op, nil
	}
	if absent[comp] || (comp == "undelete" && at == atContainer) {
		return nil, fail(http.StatusNotImplemented, codeNotImplemented, "The requested operation is not implemented on the specified resource.")
	}
	switch c.r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodPost:
	default:
		return nil, fail(http.StatusMethodNotAllowed, codeUnsupportedVerb, "The resource doesn't support specified Http Verb.")
	}
	if at == atContainer && e.restype == "" {
		return nil, fail(http.StatusNotFound, codeResourceNotFound,
			"The specified resource does not exist: blobs of a root container are not offered, and a container is addressed with restype=container.")
	}
	return nil, badRequest(codeInvalidQuery, "Value for one of the query parameters specified in the request URI is invalid.")
}
