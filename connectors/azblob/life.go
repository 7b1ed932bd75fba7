package azblob

import (
	"strings"
	"time"
)

// lifeOf names the life of an image that an archived blob belongs to: the UTC hour of its receipt and the image_id,
// both from the blob's name, so that an intruder's overwrite belongs to the life whose name it took. The same bytes
// that come again after their purge have another hour. A name that is none of ours is a life of its own.
func lifeOf(e Entry) string {
	hour, image, ok := splitName(e.Name)
	if !ok {
		return e.Name
	}
	return hour + "/" + image
}

// splitName takes hour (2006/01/02/15) and image_id out of kind/yyyy/mm/dd/hh/image_id….
func splitName(name string) (hour, image string, ok bool) {
	parts := strings.SplitN(name, "/", 7)
	if len(parts) < 6 {
		return "", "", false
	}
	switch parts[0] {
	case "raw", "derived", "metadata":
	default:
		return "", "", false
	}
	hour = strings.Join(parts[1:5], "/")
	if _, err := time.Parse("2006/01/02/15", hour); err != nil {
		return "", "", false
	}
	image, _, _ = strings.Cut(parts[5], ".")
	return hour, image, image != ""
}

// dueOf is when an entry must go: at its expires_at, or when its policy ends if that is later, since nothing can be
// deleted before. ok is false for what says no expiry of its own.
func dueOf(e Entry) (time.Time, bool) {
	due := e.ExpiresAt()
	if due.IsZero() {
		return time.Time{}, false
	}
	if e.Until.After(due) {
		due = e.Until
	}
	return due, true
}
