// Package serde turns keys and values into the bytes Kafka stores, and back.
//
// A stream finds the Serde of its types by For. It asks the application's Registry first and then this table:
//
//	string                        UTF-8                              StringSerializer
//	[]byte                        the bytes                          ByteArraySerializer
//	int16, int32                  2 or 4 bytes, big-endian           ShortSerializer, IntegerSerializer
//	int64, int, uint64            8 bytes, big-endian                LongSerializer
//	float32, float64              IEEE 754, big-endian               FloatSerializer, DoubleSerializer
//	bool                          one byte, 0 or 1                   BooleanSerializer
//	time.Time                     milliseconds since 1970, as int64  -
//	[16]byte                      36 characters, as 0f9c…            UUIDSerializer
//	struct{}                      no byte                            VoidSerializer
//	other structs, maps, slices   JSON                               -
//
// A named type (type UserID string) has the Serde of its underlying type, a pointer that of what it points to, and nil
// pointers never reach a Serde: null is not a value. Where the table names one of Kafka's serializers, the bytes are the
// same to the bit. Interfaces, functions, channels and complex numbers have no default.
package serde
