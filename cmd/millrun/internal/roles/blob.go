package roles

import (
	"context"
	"fmt"

	"github.com/millrun/millrun/connectors/azblob"
	"github.com/millrun/millrun/connectors/intake"
	"github.com/millrun/millrun/internal/events"
	"github.com/millrun/millrun/processors/images"
)

// storage is what several roles of a process share: one account, one archive, one staging.
type storage struct {
	account *azblob.Account
	staging *azblob.Staging
	archive *azblob.Archive
	metrics *azblob.Metrics
}

// open connects to Blob storage once a process. An archive that cannot promise immutability is refused here.
func (s *Set) open(ctx context.Context) (*storage, error) {
	if s.storage != nil {
		return s.storage, nil
	}
	account, err := azblob.Connect(azblob.Options{ConnectionString: s.Config.Blob.ConnectionString, URL: s.Config.Blob.URL})
	if err != nil {
		return nil, err
	}
	st := &storage{account: account, metrics: azblob.NewMetrics(s.metrics)}
	c := s.Config.Blob.Containers
	for _, name := range []string{c.Staging, c.Analytics, c.Ledger} {
		if err := account.EnsureContainer(ctx, name); err != nil {
			return nil, fmt.Errorf("container %s: %w", name, err)
		}
	}
	st.archive, err = azblob.OpenArchive(ctx, account, azblob.ArchiveConfig{
		Container: c.Archive, Clock: s.Clock, AllowMutable: s.Config.Blob.AllowMutable, Metrics: st.metrics,
	})
	if err != nil {
		return nil, err
	}
	st.staging = azblob.NewStaging(account, azblob.StagingConfig{Container: c.Staging, Clock: s.Clock, Keep: s.retention()})
	s.depend("blob", account.Ping)
	s.storage = st
	return st, nil
}

// ledger are the settings of the chain of evidence.
func (s *Set) ledger() azblob.LedgerConfig {
	return azblob.LedgerConfig{Container: s.Config.Blob.Containers.Ledger, Key: []byte(s.Config.Retention.HMACKey), Clock: s.Clock}
}

// doors is what the API and the feed have in common.
type doors struct {
	*storage

	codec  *events.Codec
	intake *intake.Intake
}

// limits bound one image's header.
func (s *Set) limits() images.Limits {
	return images.Limits{MaxPixels: int64(s.Config.Limits.Megapixels) * 1_000_000, MaxSide: s.Config.Limits.Side}
}

// doors makes one Intake a process, so that its memory bound holds for both doors together.
func (s *Set) doors(ctx context.Context) (*doors, error) {
	if s.entrance != nil {
		return s.entrance, nil
	}
	st, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	d := &doors{storage: st}
	if d.codec, err = events.NewCodec(s.Config.Kafka.SchemaRegistry); err != nil {
		return nil, err
	}
	if d.intake, err = intake.New(intake.Config{Limits: s.limits(), MaxBytes: s.Config.Limits.FileBytes, Keep: s.retention(), Staging: st.staging}); err != nil {
		return nil, err
	}
	s.entrance = d
	return d, nil
}
