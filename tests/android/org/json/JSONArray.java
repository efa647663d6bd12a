package org.json;

public class JSONArray {
    public native int length();

    public native int getInt(int index) throws JSONException;

    public native double getDouble(int index) throws JSONException;
}
