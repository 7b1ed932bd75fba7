package blobd_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/millrun/millrun/internal/blobd"
)

// roles is a verifier that knows a writer, who may never delete, and an owner.
func roles(_ context.Context, token string) (blobd.Principal, error) {
	switch token {
	case "writer":
		return blobd.Principal{ObjectID: "oid-w", TenantID: "tid", Permissions: "rcli"}, nil
	case "owner":
		return blobd.Principal{ObjectID: "oid-o", TenantID: "tid", Permissions: "racwdxltmeopi"}, nil
	}
	return blobd.Principal{}, errors.New("unknown token")
}

// asBearer is a client that sends the token; azblob refuses to do so without TLS, so the header is set by hand.
func (r *rig) asBearer(tok string) *service.Client {
	r.t.Helper()
	opts := noRetry()
	opts.PerCallPolicies = []policy.Policy{bearer(tok)}
	return must(service.NewClientWithNoCredential("http://"+r.addr+"/"+account+"/", &service.ClientOptions{ClientOptions: opts}))(r.t)
}

type bearer string

func (b bearer) Do(r *policy.Request) (*http.Response, error) {
	r.Raw().Header.Set("Authorization", "Bearer "+string(b))
	return r.Next()
}

func TestBearerNeedsAVerifier(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.container("plain")
	_, err := r.asBearer("owner").NewContainerClient("plain").GetProperties(ctx, nil)
	wantError(t, err, 401, "InvalidAuthenticationInfo")
}

func TestBearerHasTheRightsOfItsRole(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *blobd.Config) { c.VerifyBearer = roles })
	r.container("plain")
	_, err := r.asBearer("stranger").NewContainerClient("plain").GetProperties(ctx, nil)
	wantError(t, err, 401, "InvalidAuthenticationInfo")
	writer := r.asBearer("writer").NewContainerClient("plain")
	put(t, writer, "x", "text")
	_, err = writer.NewBlockBlobClient("x").Upload(ctx, body("more"), nil)
	wantError(t, err, 403, "UnauthorizedBlobOverwrite")
	_, err = writer.NewBlobClient("x").Delete(ctx, nil)
	wantError(t, err, 403, "AuthorizationPermissionMismatch")
	must(r.asBearer("owner").NewContainerClient("plain").NewBlobClient("x").Delete(ctx, nil))(t)
}

func TestRequestWithoutCredentialIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	anonymous := must(service.NewClientWithNoCredential("http://"+r.addr+"/"+account+"/", &service.ClientOptions{ClientOptions: noRetry()}))(t)
	_, err := anonymous.NewContainerClient("plain").GetProperties(ctx, nil)
	wantError(t, err, 401, "NoAuthenticationInformation")
}

func TestSignatureEndsByTheServersClock(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.container("plain")
	put(t, c, "x", "text")
	url := must(c.NewBlobClient("x").GetSASURL(sas.BlobPermissions{Read: true}, origin.Add(time.Hour), nil))(t)
	b := must(blob.NewClientWithNoCredential(url, &blob.ClientOptions{ClientOptions: noRetry()}))(t)
	must(b.GetProperties(ctx, nil))(t)
	r.clock.Advance(time.Hour)
	_, err := b.GetProperties(ctx, nil)
	wantError(t, err, 403, "AuthenticationFailed")
}

// signed is a container client for a service signature made from v.
func (r *rig) signed(v sas.BlobSignatureValues) *container.Client {
	r.t.Helper()
	cred := must(service.NewSharedKeyCredential(account, key))(r.t)
	q := must(v.SignWithSharedKey(cred))(r.t)
	return must(container.NewClientWithNoCredential("http://"+r.addr+"/"+account+"/"+v.ContainerName+"?"+q.Encode(),
		&container.ClientOptions{ClientOptions: noRetry()}))(r.t)
}

func TestSignatureIsBoundToItsLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.container("plain")
	r.container("other")
	put(t, c, "x", "text")
	base := sas.BlobSignatureValues{ContainerName: "plain", Permissions: "r", ExpiryTime: origin.Add(time.Hour)}
	read := func(v sas.BlobSignatureValues) error {
		_, err := r.signed(v).NewBlobClient("x").GetProperties(ctx, nil)
		return err
	}
	if err := read(base); err != nil {
		t.Fatal(err)
	}
	early, https, elsewhere, here := base, base, base, base
	early.StartTime = origin.Add(time.Minute)
	wantError(t, read(early), 403, "AuthenticationFailed")
	https.Protocol = sas.ProtocolHTTPS
	wantError(t, read(https), 403, "AuthorizationProtocolMismatch")
	elsewhere.IPRange = sas.IPRange{Start: []byte{10, 0, 0, 1}, End: []byte{10, 0, 0, 9}}
	wantError(t, read(elsewhere), 403, "AuthorizationSourceIPMismatch")
	here.IPRange = sas.IPRange{Start: []byte{127, 0, 0, 1}}
	if err := read(here); err != nil {
		t.Fatal(err)
	}
	// A container's signature is good for no other container and for nothing about the container itself.
	client := r.signed(base)
	moved := must(container.NewClientWithNoCredential(strings.Replace(client.URL(), "/plain?", "/other?", 1), &container.ClientOptions{ClientOptions: noRetry()}))(t)
	_, err := moved.NewBlobClient("x").GetProperties(ctx, nil)
	wantError(t, err, 403, "AuthenticationFailed")
	_, err = client.Delete(ctx, nil)
	wantError(t, err, 403, "AuthorizationFailure")
}

func TestDeleteOfVersionNeedsItsOwnPermission(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.worm("worm", 0, false)
	up := must(c.NewBlockBlobClient("x").Upload(ctx, body("1"), nil))(t)
	put(t, c, "x", "2")
	v := sas.BlobSignatureValues{ContainerName: "worm", Permissions: "rd", ExpiryTime: origin.Add(time.Hour)}
	old := must(r.signed(v).NewBlobClient("x").WithVersionID(*up.VersionID))(t)
	_, err := old.Delete(ctx, nil)
	wantError(t, err, 403, "AuthorizationPermissionMismatch")
	v.Permissions = "rdx"
	old = must(r.signed(v).NewBlobClient("x").WithVersionID(*up.VersionID))(t)
	must(old.Delete(ctx, nil))(t)
}

func TestPolicyWithUploadNeedsItsOwnPermission(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.worm("worm", 0, false)
	v := sas.BlobSignatureValues{ContainerName: "worm", Permissions: "cw", ExpiryTime: origin.Add(time.Hour)}
	_, err := r.signed(v).NewBlockBlobClient("x").Upload(ctx, body("1"), locked(origin.Add(week)))
	wantError(t, err, 403, "AuthorizationPermissionMismatch")
	v.Permissions = "cwi"
	must(r.signed(v).NewBlockBlobClient("x").Upload(ctx, body("1"), locked(origin.Add(week))))(t)
}

func TestVersionSignatureReadsThatVersionOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.worm("worm", 0, false)
	up := must(c.NewBlockBlobClient("x").Upload(ctx, body("old"), nil))(t)
	put(t, c, "x", "new")
	old := must(c.NewBlobClient("x").WithVersionID(*up.VersionID))(t)
	url := must(old.GetSASURL(sas.BlobPermissions{Read: true}, origin.Add(time.Hour), nil))(t)
	b := must(blob.NewClientWithNoCredential(url, &blob.ClientOptions{ClientOptions: noRetry()}))(t)
	if got := readAll(t, must(b.DownloadStream(ctx, nil))(t).Body); got != "old" {
		t.Fatalf("got %q", got)
	}
	parts := must(blob.ParseURL(url))(t)
	parts.VersionID = ""
	b = must(blob.NewClientWithNoCredential(parts.String(), &blob.ClientOptions{ClientOptions: noRetry()}))(t)
	_, err := b.DownloadStream(ctx, nil)
	wantError(t, err, 403, "AuthenticationFailed")
}

// The key of the delegation is derived, so it must hold after a restart, and end by the clock.
func TestUserDelegationSignature(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *blobd.Config) { c.VerifyBearer = roles })
	c := r.container("plain")
	put(t, c, "x", "text")
	_, err := r.client.GetUserDelegationCredential(ctx, service.KeyInfo{Expiry: new(origin.Add(time.Hour).Format(sas.TimeFormat))}, nil)
	wantError(t, err, 403, "AuthenticationFailed")
	_, err = r.asBearer("writer").GetUserDelegationCredential(ctx, service.KeyInfo{
		Start: new(origin.Format(sas.TimeFormat)), Expiry: new(origin.Add(9 * 24 * time.Hour).Format(sas.TimeFormat)),
	}, nil)
	wantError(t, err, 400, "InvalidXmlDocument")
	key := userDelegationKey(t, r, origin.Add(time.Hour))
	q := must(sas.BlobSignatureValues{ContainerName: "plain", BlobName: "x", Permissions: "r", ExpiryTime: origin.Add(30 * time.Hour)}.SignWithUserDelegation(key))(t)
	b := must(blob.NewClientWithNoCredential(c.NewBlobClient("x").URL()+"?"+q.Encode(), &blob.ClientOptions{ClientOptions: noRetry()}))(t)
	if got := readAll(t, must(b.DownloadStream(ctx, nil))(t).Body); got != "text" {
		t.Fatalf("got %q", got)
	}
	r.clock.Advance(2 * time.Hour) // the signature would last, its key does not
	_, err = b.DownloadStream(ctx, nil)
	wantError(t, err, 403, "AuthenticationFailed")
}

// userDelegationKey asks for a key by host-style address, from which azblob takes the account's name.
func userDelegationKey(t *testing.T, r *rig, expiry time.Time) *service.UserDelegationCredential {
	t.Helper()
	opts := noRetry()
	opts.PerCallPolicies = []policy.Policy{bearer("writer")}
	opts.Transport = redirect(r.addr)
	client := must(service.NewClientWithNoCredential("http://"+account+".blob.example/", &service.ClientOptions{ClientOptions: opts}))(t)
	return must(client.GetUserDelegationCredential(ctx, service.KeyInfo{
		Start: new(origin.Format(sas.TimeFormat)), Expiry: new(expiry.Format(sas.TimeFormat)),
	}, nil))(t)
}

// redirect sends requests for any host to one address, keeping the Host header.
type redirect string

func (a redirect) Do(r *http.Request) (*http.Response, error) {
	r.Host, r.URL.Host = r.URL.Host, string(a)
	return httpClient.Do(r)
}

func TestHostStyleAddress(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	opts := noRetry()
	opts.Transport = redirect(r.addr)
	cred := must(service.NewSharedKeyCredential(account, key))(t)
	client := must(service.NewClientWithSharedKeyCredential("http://"+account+".blob.example/", cred, &service.ClientOptions{ClientOptions: opts}))(t)
	c := makeContainer(t, client, "plain")
	put(t, c, "a/b", "text")
	if get(t, r.client.NewContainerClient("plain"), "a/b") != "text" {
		t.Fatal("the two styles see different blobs")
	}
}

// What the SDK would never send: each is refused with Azure's code, and never with a 500.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *blobd.Config) { c.VerifyBearer = roles; c.MaxBlobBytes = 1 << 20 })
	c := r.container("plain")
	put(t, c, "x", "text")
	for name, tc := range map[string]struct {
		method, target string
		header         map[string]string
		body           string
		status         int
		code           string
	}{
		"other account":         {"GET", "/other/plain/x", nil, "", 404, "ResourceNotFound"},
		"unknown comp":          {"GET", "/devstore/plain/x?comp=nonsense", nil, "", 400, "InvalidQueryParameterValue"},
		"lease":                 {"PUT", "/devstore/plain/x?comp=lease", nil, "", 501, "NotImplemented"},
		"page blob":             {"PUT", "/devstore/plain/y", map[string]string{"x-ms-blob-type": "PageBlob"}, "", 400, "InvalidBlobType"},
		"no blob type":          {"PUT", "/devstore/plain/y", nil, "", 400, "MissingRequiredHeader"},
		"too large":             {"PUT", "/devstore/plain/y", map[string]string{"x-ms-blob-type": "BlockBlob"}, strings.Repeat("x", 1<<20+1), 413, "RequestBodyTooLarge"},
		"md5 of 3 bytes":        {"PUT", "/devstore/plain/y", map[string]string{"x-ms-blob-type": "BlockBlob", "Content-MD5": "YWJj"}, "x", 400, "InvalidMd5"},
		"metadata name":         {"PUT", "/devstore/plain/y", map[string]string{"x-ms-blob-type": "BlockBlob", "x-ms-meta-1a": "x"}, "x", 400, "InvalidMetadata"},
		"metadata size":         {"PUT", "/devstore/plain/y", map[string]string{"x-ms-blob-type": "BlockBlob", "x-ms-meta-a": strings.Repeat("x", 9000)}, "x", 400, "MetadataTooLarge"},
		"block without id":      {"PUT", "/devstore/plain/y?comp=block", nil, "x", 400, "MissingRequiredQueryParameter"},
		"block id":              {"PUT", "/devstore/plain/y?comp=block&blockid=%21%21", nil, "x", 400, "InvalidQueryParameterValue"},
		"empty block":           {"PUT", "/devstore/plain/y?comp=block&blockid=AAAA", nil, "", 400, "InvalidHeaderValue"},
		"block list":            {"PUT", "/devstore/plain/y?comp=blocklist", nil, "<BlockList><Latest>", 400, "InvalidXmlDocument"},
		"marker":                {"GET", "/devstore/plain?restype=container&comp=list&marker=%21", nil, "", 400, "OutOfRangeQueryParameterValue"},
		"maxresults":            {"GET", "/devstore/plain?restype=container&comp=list&maxresults=0", nil, "", 400, "OutOfRangeQueryParameterValue"},
		"include":               {"GET", "/devstore/plain?restype=container&comp=list&include=everything", nil, "", 400, "InvalidQueryParameterValue"},
		"version id":            {"GET", "/devstore/plain/x?versionid=yesterday", nil, "", 400, "InvalidQueryParameterValue"},
		"condition":             {"GET", "/devstore/plain/x", map[string]string{"If-Modified-Since": "soon"}, "", 400, "InvalidHeaderValue"},
		"tag condition":         {"GET", "/devstore/plain/x", map[string]string{"x-ms-if-tags": "a='b'"}, "", 400, "UnsupportedHeader"},
		"lease id":              {"DELETE", "/devstore/plain/x", map[string]string{"x-ms-lease-id": "1"}, "", 412, "LeaseNotPresentWithBlobOperation"},
		"until is no date":      {"PUT", "/devstore/plain/x?comp=immutabilityPolicies", map[string]string{"x-ms-immutability-policy-until-date": "2026"}, "", 400, "InvalidHeaderValue"},
		"hold without header":   {"PUT", "/devstore/plain/x?comp=legalhold", nil, "", 400, "MissingRequiredHeader"},
		"tier":                  {"PUT", "/devstore/plain/x?comp=tier", map[string]string{"x-ms-access-tier": "Lukewarm"}, "", 400, "InvalidBlobTier"},
		"bad escape":            {"GET", "/devstore/plain/x?comp=%zz", nil, "", 400, "InvalidUri"},
		"not utf-8":             {"GET", "/devstore/plain/%ff%fe", nil, "", 400, "InvalidUri"},
		"nul":                   {"GET", "/devstore/plain/a%00b", nil, "", 400, "InvalidUri"},
		"long name":             {"GET", "/devstore/plain/" + strings.Repeat("n", 1025), nil, "", 400, "OutOfRangeInput"},
		"container name":        {"PUT", "/devstore/UPPER?restype=container", nil, "", 400, "InvalidResourceName"},
		"double hyphen":         {"PUT", "/devstore/a--b?restype=container", nil, "", 400, "InvalidResourceName"},
		"permanent delete":      {"DELETE", "/devstore/plain/x?deletetype=permanent", nil, "", 403, "AuthorizationPermissionMismatch"},
		"verb":                  {"PATCH", "/devstore/plain/x", nil, "", 405, "UnsupportedHttpVerb"},
		"malformed credentials": {"GET", "/devstore/plain/x", map[string]string{"Authorization": "Basic eDp5"}, "", 400, "InvalidAuthenticationInfo"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := httptest.NewRequest(tc.method, tc.target, strings.NewReader(tc.body))
			req.RequestURI = tc.target
			req.Header.Set("Authorization", "Bearer owner")
			for k, v := range tc.header {
				req.Header.Set(k, v)
			}
			rec := httptest.NewRecorder()
			r.server.ServeHTTP(rec, req)
			if rec.Code != tc.status || rec.Header().Get("X-Ms-Error-Code") != tc.code {
				t.Fatalf("got %d %s, want %d %s", rec.Code, rec.Header().Get("X-Ms-Error-Code"), tc.status, tc.code)
			}
			if !strings.Contains(rec.Body.String(), "<Code>"+tc.code+"</Code>") || rec.Header().Get("X-Ms-Request-Id") == "" {
				t.Fatalf("body %q", rec.Body.String())
			}
		})
	}
}

func TestClientRequestIDAndVersionAreEchoed(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *blobd.Config) { c.VerifyBearer = roles })
	req := httptest.NewRequest(http.MethodGet, "/devstore/?comp=list", nil)
	req.Header.Set("Authorization", "Bearer owner")
	req.Header.Set("X-Ms-Client-Request-Id", "mine")
	req.Header.Set("X-Ms-Version", "2021-12-02")
	rec := httptest.NewRecorder()
	r.server.ServeHTTP(rec, req)
	h := rec.Header()
	if rec.Code != 200 || h.Get("X-Ms-Client-Request-Id") != "mine" || h.Get("X-Ms-Version") != "2021-12-02" ||
		h.Get("Date") != origin.Format(http.TimeFormat) {
		t.Fatalf("%d %v", rec.Code, h)
	}
}

// The service sorts signed headers by rules of its own; a client that sorts otherwise is refused.
func TestSignedHeadersAreSortedAsTheClientSortsThem(t *testing.T) {
	t.Parallel()
	c := newRig(t, nil).container("plain")
	const alphabet = "ab1_"
	var names []string
	for _, x := range alphabet {
		for _, y := range alphabet {
			for _, z := range alphabet {
				names = append(names, "n"+string(x)+string(y)+string(z), "n"+string(y)+string(z))
			}
		}
	}
	meta := map[string]*string{}
	for _, n := range names {
		meta[n] = &n
	}
	must(c.NewBlockBlobClient("x").Upload(ctx, body("text"), &blockblob.UploadOptions{Metadata: meta}))(t)
	if got := must(c.NewBlobClient("x").GetProperties(ctx, nil))(t).Metadata; len(got) != len(meta) {
		t.Fatalf("%d names came back, %d were sent", len(got), len(meta))
	}
}

func TestAccountInfoAndBlobMetadata(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *blobd.Config) { c.VerifyBearer = roles })
	info := must(r.client.GetAccountInfo(ctx, nil))(t)
	if *info.AccountKind != "StorageV2" || *info.SKUName != "Standard_LRS" {
		t.Fatalf("%+v", info)
	}
	c := r.container("plain")
	must(c.NewBlockBlobClient("x").Upload(ctx, body("text"), &blockblob.UploadOptions{Metadata: map[string]*string{"k": new("v")}}))(t)
	req := httptest.NewRequest(http.MethodGet, "/devstore/plain/x?comp=metadata", nil)
	req.Header.Set("Authorization", "Bearer owner")
	rec := httptest.NewRecorder()
	r.server.ServeHTTP(rec, req)
	if rec.Code != 200 || rec.Header().Get("X-Ms-Meta-K") != "v" || rec.Body.Len() != 0 {
		t.Fatalf("%d %v", rec.Code, rec.Header())
	}
}

func TestRangeCarriesItsDigestWhenAsked(t *testing.T) {
	t.Parallel()
	c := newRig(t, nil).container("plain")
	put(t, c, "x", "0123456789")
	b := c.NewBlobClient("x")
	resp := must(b.DownloadStream(ctx, &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: 2, Count: 3}, RangeGetContentMD5: new(true)}))(t)
	sum := md5.Sum([]byte("234"))
	if got := readAll(t, resp.Body); got != "234" || !bytes.Equal(resp.ContentMD5, sum[:]) {
		t.Fatalf("%q with MD5 %x, want %x", got, resp.ContentMD5, sum)
	}
	_, err := b.DownloadStream(ctx, &blob.DownloadStreamOptions{RangeGetContentMD5: new(true)})
	wantError(t, err, 400, "OutOfRangeInput")
}

func TestTLS(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	// httptest's own certificate; the listener is ours.
	cert := httptest.NewTLSServer(http.NotFoundHandler())
	defer cert.Close()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	done := make(chan error, 1)
	go func() { done <- r.server.ServeTLS(l, cert.TLS) }()
	opts := noRetry()
	client := cert.Client()
	opts.Transport = client
	defer client.CloseIdleConnections()
	cred := must(service.NewSharedKeyCredential(account, key))(t)
	svc := must(service.NewClientWithSharedKeyCredential("https://"+l.Addr().String()+"/"+account+"/", cred, &service.ClientOptions{ClientOptions: opts}))(t)
	c := makeContainer(t, svc, "plain")
	put(t, c, "x", "text")
	v := sas.BlobSignatureValues{ContainerName: "plain", BlobName: "x", Permissions: "r", ExpiryTime: origin.Add(time.Hour), Protocol: sas.ProtocolHTTPS}
	q := must(v.SignWithSharedKey(cred))(t)
	b := must(blob.NewClientWithNoCredential(c.NewBlobClient("x").URL()+"?"+q.Encode(), &blob.ClientOptions{ClientOptions: opts}))(t)
	if got := readAll(t, must(b.DownloadStream(ctx, nil))(t).Body); got != "text" {
		t.Fatalf("got %q", got)
	}
	if err := r.server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
