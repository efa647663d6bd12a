package org.json;

public class JSONObject {
    public JSONObject(String json) throws JSONException {}

    public native boolean isNull(String name);

    public native int getInt(String name) throws JSONException;

    public native double getDouble(String name) throws JSONException;

    public native String getString(String name) throws JSONException;

    public native JSONArray getJSONArray(String name) throws JSONException;

    public native JSONObject getJSONObject(String name) throws JSONException;
}
