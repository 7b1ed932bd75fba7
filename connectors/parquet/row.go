package parquet

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/millrun/millrun/internal/events"
)

// Folder is where the files of image_events are.
const Folder = "image_events/"

// ImageEvent is a row of image_events: an image, or another receipt of one, reached a status. Pointers are nil where
// nothing is known, which Synapse reads as NULL. Column types are those Synapse serverless maps without a cast.
type ImageEvent struct {
	ImageID      string    `parquet:"image_id"`
	EventTime    time.Time `parquet:"event_time,timestamp(microsecond:utc)"`
	TenantClass  string    `parquet:"tenant_class"`
	Origin       string    `parquet:"origin"`
	Status       string    `parquet:"status"`
	Format       *string   `parquet:"format,optional"`
	Bytes        *int64    `parquet:"bytes,optional"`
	Width        *int32    `parquet:"width,optional"`
	Height       *int32    `parquet:"height,optional"`
	ProcessingMS *int32    `parquet:"processing_ms,optional"`
	Duplicate    bool      `parquet:"duplicate"`
	ErrorCode    *string   `parquet:"error_code,optional"`
}

func rowOf(s events.ImageStatus) ImageEvent {
	r := ImageEvent{
		ImageID: s.ImageID, EventTime: s.At.UTC(), TenantClass: s.TenantClass, Origin: s.Origin, Status: string(s.Status),
		Bytes: s.Bytes, Width: s.Width, Height: s.Height, ProcessingMS: s.ProcessingMS, Duplicate: s.Duplicate, ErrorCode: s.ErrorCode,
	}
	if s.Format != "" {
		r.Format = &s.Format
	}
	return r
}

// expiry is when a status must be gone with its file. A record that does not say counts from its own time.
func expiry(s events.ImageStatus) time.Time {
	if s.ExpiresAt.Unix() <= 0 {
		return events.ExpiresAt(s.At)
	}
	return s.ExpiresAt
}

// encode is the file of rows. The same rows give the same bytes: no time, name or random number goes in.
func encode(rows []ImageEvent) ([]byte, error) {
	var b bytes.Buffer
	w := parquet.NewGenericWriter[ImageEvent](&b,
		parquet.Compression(&parquet.Snappy), parquet.CreatedBy("millrun", "1", "image_events"))
	if _, err := w.Write(rows); err != nil {
		return nil, fmt.Errorf("parquet: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("parquet: %w", err)
	}
	return b.Bytes(), nil
}

// decode reads a file back. Bytes that are no such file are an error, not a panic.
func decode(b []byte) (rows []ImageEvent, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("parquet: the reader panicked: %v", p)
		}
	}()
	rows, err = parquet.Read[ImageEvent](bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("parquet: %w", err)
	}
	return rows, nil
}

// fileName is the blob of the file that begins with a record.
func fileName(topic string, partition int32, first int64, timestamp time.Time) string {
	t := timestamp.UTC()
	return fmt.Sprintf("%sdt=%s/hr=%02d/part-%s-%d-%d.parquet", Folder, t.Format(time.DateOnly), t.Hour(), topic, partition, first)
}

// isFile says whether a blob's name is one of ours.
func isFile(name string) bool {
	return strings.HasPrefix(name, Folder) && strings.HasSuffix(name, ".parquet")
}
