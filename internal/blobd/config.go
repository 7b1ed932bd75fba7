package blobd

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/millrun/millrun/internal/clock"
)

// Bounds of Azure's reference (Put Blob, Put Block, Put Block List, x-ms-version 2019-12-12 and later).
const (
	maxPutBlobBytes = 5000 << 20
	maxBlockBytes   = 4000 << 20
	maxBlocks       = 50_000
	maxMetadata     = 8 << 10
	maxListResults  = 5000
	blockLifetime   = 7 * 24 * time.Hour
)

// Config is what a Server is made of. Dir, Account and Key are required.
type Config struct {
	// Account is the storage account's name: 3 to 24 lower-case letters and digits.
	Account string

	// Clock decides Date, Last-Modified, immutability, soft delete, the expiry of signatures and of uncommitted
	// blocks. The one thing it does not decide is the allowed skew of x-ms-date, since clients stamp their requests
	// with the machine's time. Default: the machine's clock.
	Clock clock.Clock

	// Containers are made at Open where they do not exist yet. One that exists with other immutability settings is
	// an error: on Azure these are the control plane's and cannot be taken back.
	Containers []ContainerConfig

	// Dir is the folder that holds everything. It is made when missing and belongs to one Server at a time.
	Dir string

	// Key is the account's shared key in base64. It never appears in a log or an error.
	Key string

	// Log receives one line per failed request at level debug, without names of blobs. Default: slog.Default().
	Log *slog.Logger

	// MaxBlobBytes bounds one Put Blob and one Put Block. Default: Azure's bounds, 5,000 and 4,000 MiB.
	MaxBlobBytes int64

	// SoftDelete is how long deleted blobs, versions and snapshots can be restored, in whole days up to 365, until
	// Set Blob Service Properties says otherwise. Default: 0, which is off.
	SoftDelete time.Duration

	// SweepEvery is the real time between two looks at the clock for what has become due. Default: 2 s.
	SweepEvery time.Duration

	// VerifyBearer judges an OAuth token. Default: nil, which refuses every token.
	VerifyBearer func(ctx context.Context, token string) (Principal, error)

	// Versioning keeps what is overwritten or deleted as a version, in every container. A container with
	// version-level immutability has it regardless. Default: off.
	Versioning bool
}

// ContainerConfig describes a container as Azure's control plane would make it.
type ContainerConfig struct {
	// Name is the container's name by Azure's rules.
	Name string

	// ImmutableWithVersioning makes version-level immutability possible in the container; it is decided for ever.
	ImmutableWithVersioning bool

	// DefaultDays is the interval, in days from its creation, for which a version without a policy of its own is
	// protected. Default: 0, no default policy.
	DefaultDays int

	// DefaultLocked says that the default policy's protection is locked; otherwise it is unlocked.
	DefaultLocked bool
}

// Principal is who stands behind a bearer token.
type Principal struct {
	// ObjectID and TenantID name the caller in a user delegation key.
	ObjectID, TenantID string

	// Permissions are the letters of a signature (racwdxyltmeopi) that the caller's role amounts to.
	Permissions string
}

var (
	accountName   = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	containerName = regexp.MustCompile(`^(\$logs|\$web|[a-z0-9](-?[a-z0-9])+)$`)
)

// withDefaults fills what may be left out and reports every fault at once.
func (c Config) withDefaults() (Config, []byte, error) {
	var faults []error
	if c.Dir == "" {
		faults = append(faults, errors.New("blobd: Dir is empty; name the folder that keeps the blobs"))
	}
	if !accountName.MatchString(c.Account) {
		faults = append(faults, fmt.Errorf("blobd: account %q: use 3 to 24 lower-case letters and digits", c.Account))
	}
	key, err := base64.StdEncoding.DecodeString(c.Key)
	if err != nil || len(key) < 16 {
		faults = append(faults, errors.New("blobd: Key is no base64 text of at least 16 bytes"))
	}
	if c.SoftDelete < 0 || c.SoftDelete > 365*day || c.SoftDelete%day != 0 {
		faults = append(faults, fmt.Errorf("blobd: SoftDelete %s: use whole days, at most 365", c.SoftDelete))
	}
	for _, cc := range c.Containers {
		faults = append(faults, cc.validate())
	}
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.SweepEvery <= 0 {
		c.SweepEvery = 2 * time.Second
	}
	if c.MaxBlobBytes <= 0 || c.MaxBlobBytes > maxPutBlobBytes {
		c.MaxBlobBytes = maxPutBlobBytes
	}
	return c, key, errors.Join(faults...)
}

func (c ContainerConfig) validate() error {
	if !validContainerName(c.Name) {
		return fmt.Errorf("blobd: container %q: use 3 to 63 lower-case letters, digits and single hyphens", c.Name)
	}
	if c.DefaultDays < 0 || c.DefaultDays > 146_000 {
		return fmt.Errorf("blobd: container %s: a default policy of %d days; use 0 to 146,000", c.Name, c.DefaultDays)
	}
	if !c.ImmutableWithVersioning && c.DefaultDays > 0 {
		return fmt.Errorf("blobd: container %s: a default policy needs ImmutableWithVersioning", c.Name)
	}
	return nil
}

func validContainerName(name string) bool {
	return len(name) >= 3 && len(name) <= 63 && containerName.MatchString(name)
}

const day = 24 * time.Hour
