// Package parquet writes what analysts read: the rows of image_events, made of the records of image-status, as Parquet
// files in the container "analytics". No file holds an image's bytes.
//
// A file holds consecutive records of one partition and is named after the first:
//
//	image_events/dt=YYYY-MM-DD/hr=HH/part-{topic}-{partition}-{firstoffset}.parquet
//
// dt and hr are the UTC hour of the first record's timestamp. A file ends before the first record of a later hour, or at
// a number of records, or when its partition has been quiet for a while; then its last offset, kept in the blob's
// metadata, is what a replay goes by. A file becomes visible in one step when it is complete, never replaces another,
// and offsets are committed after it: whatever happens in between, a replay writes the same names with the same bytes.
package parquet
