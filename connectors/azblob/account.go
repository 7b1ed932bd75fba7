package azblob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// Options say which account and as whom. Exactly one of ConnectionString and URL is set.
type Options struct {
	// ConnectionString reaches an account by its key or a signature. It is a secret.
	ConnectionString string

	// Credential is for URL. Default: azidentity's DefaultAzureCredential.
	Credential azcore.TokenCredential

	// Transport sends the requests. Default: connections of the Account's own.
	Transport policy.Transporter

	// Retries is how often a request is tried again. Default: 3; -1 means never.
	Retries int32

	// URL is an account's Blob endpoint, such as https://NAME.blob.core.windows.net.
	URL string
}

// Account is a connection to one storage account. Safe for concurrent use. Close gives its idle connections back.
type Account struct {
	service *service.Client
	idle    func()
}

// Connect makes an Account. Nothing is sent before the first use.
func Connect(o Options) (*Account, error) {
	if (o.ConnectionString == "") == (o.URL == "") {
		return nil, errors.New("azblob: give either a connection string or a URL")
	}
	a := &Account{idle: func() {}}
	if o.Transport == nil {
		client := &http.Client{Transport: ownTransport()}
		o.Transport, a.idle = client, client.CloseIdleConnections
	}
	opts := &service.ClientOptions{
		Transport: o.Transport,
		Retry:     policy.RetryOptions{MaxRetries: o.Retries, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: 5 * time.Second}}
	var err error
	if o.ConnectionString != "" {
		if a.service, err = service.NewClientFromConnectionString(o.ConnectionString, opts); err != nil {
			// The module's own error may quote the string, which holds the key.
			return nil, errors.New("azblob: blob.connection_string is not understood: it needs AccountName and AccountKey, or SharedAccessSignature")
		}
		return a, nil
	}
	if o.Credential == nil {
		if o.Credential, err = azidentity.NewDefaultAzureCredential(nil); err != nil {
			return nil, fmt.Errorf("azblob: credentials: %w", err)
		}
	}
	if a.service, err = service.NewClient(strings.TrimSuffix(o.URL, "/")+"/", o.Credential, opts); err != nil {
		return nil, fmt.Errorf("azblob: blob.url: %w", err)
	}
	return a, nil
}

// ownTransport is HTTP as the standard library does it, with enough idle connections for parallel purges.
func ownTransport() *http.Transport {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 32, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true}
	return t
}

// Close gives the idle connections back.
func (a *Account) Close() { a.idle() }

// Ping says whether the account answers and knows us.
func (a *Account) Ping(ctx context.Context) error {
	if _, err := a.service.NewListContainersPager(&service.ListContainersOptions{MaxResults: new(int32(1))}).NextPage(ctx); err != nil {
		return fmt.Errorf("azblob: %w", brief(err))
	}
	return nil
}

// EnsureContainer makes an ordinary container; one that exists is left as it is.
func (a *Account) EnsureContainer(ctx context.Context, name string) error {
	_, err := a.service.NewContainerClient(name).Create(ctx, nil)
	if err != nil && !bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
		return fmt.Errorf("azblob: container %s: %w", name, brief(err))
	}
	return nil
}

// Container is the SDK's client of one container, for what this package has no words for.
func (a *Account) Container(name string) *container.Client { return a.service.NewContainerClient(name) }
